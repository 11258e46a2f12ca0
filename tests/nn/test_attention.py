import math

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RBF
from torch import nn

from tenfold.nn import AdditiveAttention, AveragePooling, DotProductAttention, KernelPooling, length_mask
from tenfold.testing import check_alone_or_together

GENERATOR = torch.Generator().manual_seed(0)
QUERIES, KEYS, VALUES = (torch.randn(2, n, d, generator=GENERATOR) for n, d in ((3, 4), (5, 4), (5, 6)))
KINDS = {
    "average": AveragePooling,
    "kernel": KernelPooling,
    "learned kernel": lambda: KernelPooling(0.5, learned=True),
    "additive": lambda: AdditiveAttention(4, 4, 8),
    "dot product": DotProductAttention,
}
SEEN = torch.tensor([True, False, True, True, False])


def scores_of(kind, pool):
    """Scores by NumPy, shape (2, 3, 5)."""
    q, k = QUERIES.numpy(), KEYS.numpy()
    if kind == "average":
        return np.zeros((2, 3, 5))
    if "kernel" in kind:
        width = 1.0 if kind == "kernel" else 0.5
        return np.log([RBF(width)(one, two) for one, two in zip(q, k, strict=True)])
    if kind == "additive":
        w_q, w_k, w = (layer.weight.detach().numpy() for layer in (pool.query, pool.key, pool.score))
        return (np.tanh((q @ w_q.T)[:, :, None] + (k @ w_k.T)[:, None]) @ w.T)[..., 0]
    return q @ k.transpose(0, 2, 1) / math.sqrt(4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_pooled_by_the_softmax_of_the_scores(kind, masked):
    pool = KINDS[kind]()
    weights = np.exp(scores_of(kind, pool)) * (SEEN.numpy() if masked else 1)
    weights /= weights.sum(axis=-1, keepdims=True)
    got = pool(QUERIES, KEYS, VALUES, SEEN[None, None] if masked else None)
    np.testing.assert_allclose(got.detach().numpy(), weights @ VALUES.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_hide_what_lies_behind_them_and_a_query_without_keys_gets_zeros(kind):
    pool, values = KINDS[kind](), VALUES.clone().requires_grad_()
    keys = KEYS.clone().requires_grad_()
    pooled = pool(QUERIES, keys, values, length_mask(torch.tensor([2, 0]), 5))
    torch.testing.assert_close(pooled[0], pool(QUERIES, KEYS[:, :2], VALUES[:, :2])[0])
    assert (pooled[1] == 0).all()
    pooled.sum().backward()
    assert (values.grad[0, 2:] == 0).all()
    assert (values.grad[1] == 0).all()
    assert keys.grad is None or keys.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_members_pool_as_they_do_alone(kind):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.change, self.pool = nn.Linear(4, 4), KINDS[kind]()

        def forward(self, queries, keys, values):
            return self.pool(self.change(queries), self.change(keys), values, SEEN[None, None])

    target = torch.randn(2, 3, 6, generator=GENERATOR)
    check_alone_or_together(
        Net,
        [(QUERIES, KEYS, VALUES, target)],
        lambda model, q, k, v, y: (model(q, k, v) - y + 0 * model.change(q).sum()).square().mean(),
        num_steps=5,
    )


def test_a_learned_bandwidth_is_a_parameter_and_a_given_one_is_not():
    assert [name for name, _ in KernelPooling(2.0, learned=True).named_parameters()] == ["inverse_bandwidth"]
    assert list(KernelPooling(2.0).parameters()) == []


def test_a_bandwidth_of_nothing_is_refused():
    with pytest.raises(ValueError, match="KernelPooling: bandwidth must be positive, got 0"):
        KernelPooling(0.0)
