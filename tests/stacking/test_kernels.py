"""The kernels in C++: products against NumPy, LSTMs against `torch.nn.LSTM`, and where they stand in a program."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.optim import TrainingStep
from tenfold.stacking import kernels
from tenfold.stacking.kernels import library

needs_avx512 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the kernels are for CPUs with AVX-512"
)
SIZES = [(4, 32, 64, 128), (3, 33, 65, 47), (1, 50, 300, 17), (5, 1, 1, 1), (2, 7, 600, 10), (20, 13, 16, 100)]


def lying(tensor, how):
    """The same values in other memory: transposed matrices, every second row, or one matrix for all members."""
    if how == "transposed":
        return tensor.transpose(1, 2).contiguous().transpose(1, 2)
    if how == "strided":
        return torch.stack([tensor, tensor], dim=-1).flatten(2)[..., ::2]
    if how == "shared":
        return tensor[:1].expand_as(tensor)
    return tensor


@needs_avx512
@pytest.mark.parametrize("how", [("rows", "rows"), ("transposed", "transposed"), ("shared", "strided")])
@pytest.mark.parametrize("sizes", SIZES)
def test_products_are_those_of_numpy_however_the_matrices_lie(sizes, how, threads):
    members, rows, depth, columns = sizes
    generator = torch.Generator().manual_seed(0)
    a = lying(torch.randn(members, rows, depth, generator=generator), how[0])
    b = lying(torch.randn(members, depth, columns, generator=generator), how[1])
    expected = a.double().numpy() @ b.double().numpy()
    tolerance = 1e-6 * np.sqrt(depth) * np.abs(expected).max()
    np.testing.assert_allclose(torch.ops.tenfold.products(a, b).numpy(), expected, rtol=0, atol=tolerance)


@needs_avx512
def test_a_product_without_rows_or_depth_is_empty_or_zero():
    products = torch.ops.tenfold.products
    assert products(torch.zeros(2, 0, 3), torch.zeros(2, 3, 4)).shape == (2, 0, 4)
    assert products(torch.ones(2, 3, 0), torch.ones(2, 0, 4)).tolist() == torch.zeros(2, 3, 4).tolist()


@needs_avx512
def test_a_nan_in_one_members_product_changes_no_bit_of_another():
    a, b = torch.randn(4, 9, 20), torch.randn(4, 20, 33)
    clean = torch.ops.tenfold.products(a, b)
    a[1, 3, 5], b[2, 0, 0] = torch.nan, torch.inf
    poisoned = torch.ops.tenfold.products(a, b)
    assert poisoned[1, 3].isnan().all()
    assert not poisoned[2].isfinite().all()
    assert torch.equal(poisoned[[0, 3]], clean[[0, 3]])


def make_lstm_case(members, steps, batch, inputs, hidden, has_bias):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    layers = [nn.LSTM(inputs, hidden, bias=has_bias).double() for _ in range(members)]
    weights = [
        torch.stack([getattr(layer, name).detach() for layer in layers]) for name in ("weight_ih_l0", "weight_hh_l0")
    ]
    bias = draw(members, 4 * hidden) if has_bias else None
    given = [
        draw(members, steps, batch, inputs),
        *weights,
        bias,
        draw(members, batch, hidden),
        draw(members, batch, hidden),
    ]
    grads = [draw(members, steps, batch, hidden), draw(members, batch, hidden), draw(members, batch, hidden)]
    return given, grads


def lstm_alone(given, reverse):
    """`torch.lstm` of one member after another; turned time for the reverse direction."""
    results = []
    for x, w_ih, w_hh, *rest in zip(*(part for part in given if part is not None), strict=True):
        bias = [rest[0], torch.zeros_like(rest[0])] if given[3] is not None else []
        states = (rest[-2][None], rest[-1][None])
        rows = x.flip(0) if reverse else x
        out, h, c = torch.lstm(rows, states, [w_ih, w_hh, *bias], bool(bias), 1, 0.0, True, False, False)
        results.append((out.flip(0) if reverse else out, h[0], c[0]))
    return [torch.stack(parts) for parts in zip(*results, strict=True)]


def with_gradients(function, given, grads):
    leaves = [None if part is None else part.clone().requires_grad_() for part in given]
    outputs = function(leaves)
    total = sum((out * grad).sum() for out, grad in zip(outputs, grads, strict=True))
    return [*outputs, *torch.autograd.grad(total, [leaf for leaf in leaves if leaf is not None])]


@needs_avx512
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("sizes", [(3, 6, 8, 5, 16), (4, 5, 13, 17, 33), (1, 3, 7, 1, 1)])
def test_the_lstm_and_its_gradients_are_those_of_torch(sizes, has_bias, reverse, threads):
    given, grads = make_lstm_case(*sizes, has_bias)
    expected = with_gradients(lambda leaves: lstm_alone(leaves, reverse), given, grads)
    single = [
        None if part is None else lying(part.float(), "transposed" if part.dim() == 3 else "") for part in given
    ]
    found = with_gradients(lambda leaves: kernels.LSTM.apply(*leaves, reverse), single, [g.float() for g in grads])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=3e-6 * theirs.abs().max().item())


@needs_avx512
def test_large_and_unnatural_gates_saturate_or_stay_nan():
    (x, w_ih, w_hh, bias, h, c), _ = make_lstm_case(2, 2, 3, 4, 16, True)
    given = [part.float() for part in (x, w_ih, w_hh, bias, h, c)]
    given[3] *= 1e30
    outputs = kernels.LSTM.apply(*given, False)[0]
    assert outputs.isfinite().all()
    assert outputs.abs().max() <= 1.0
    given[0][0, 0, 1, 2] = torch.nan
    poisoned = kernels.LSTM.apply(*given, False)[0]
    assert poisoned[0, :, 1].isnan().all()
    assert torch.equal(poisoned[1], outputs[1])
    assert torch.equal(poisoned[0, :, 0], outputs[0, :, 0])


@needs_avx512
def test_a_second_derivative_of_the_lstm_is_refused():
    given, _ = make_lstm_case(1, 2, 2, 3, 4, True)
    leaves = [part.float().requires_grad_() for part in given]
    (first,) = torch.autograd.grad(kernels.LSTM.apply(*leaves, False)[0].square().sum(), leaves[1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


class Reader(nn.Module):
    """Two layers of LSTMs in both directions, from states of its own, and a head on all steps."""

    def __init__(self, size=6, **options):
        super().__init__()
        self.lstm = nn.LSTM(5, size, batch_first=True, **options)
        self.head = nn.Linear(size * (1 + self.lstm.bidirectional), 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0]).mean(1)


def loss(model, x, y):
    return F.cross_entropy(model(x), y)


def compiled_step(make, members=3, dtype=torch.float32):
    models = []
    for seed in range(members):
        torch.manual_seed(seed)
        models.append(make().to(dtype))
    stack = tenfold.stack(models)
    optimizer = tenfold.optim.SGD(stack.parameters(), lr=0.1)
    return stack, TrainingStep(stack, loss, optimizer, compiled=True)


class Ahead(nn.Module):
    """A GRU in one direction, a head on its last step."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.gru(x)[0][:, -1])


def make_cnn():
    """Convolutions as one writes them: with batch norm, a ReLU in place, pooling, and rows at the end."""
    first = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(*first, nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


COMPILED = {
    "LSTM": (lambda: Reader(num_layers=2, bidirectional=True), (7, 5)),
    "GRU": (Ahead, (28, 5)),
    "CNN": (make_cnn, (1, 8, 8)),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in COMPILED])
def test_a_compiled_step_trains_as_torchs_own_layers_do(name):
    make, shape = COMPILED[name]
    stack, step = compiled_step(make)
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(6, 4, *shape, generator=generator), torch.randint(3, (6, 4), generator=generator)
    found = torch.stack([step(x[i], y[i]) for i in range(6)])
    assert step.fallback is None
    for member in range(3):
        torch.manual_seed(member)
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for i in range(6):
            value = loss(model, x[i], y[i])
            torch.testing.assert_close(found[i, member], value.detach(), rtol=1e-5, atol=1e-5)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        for tensor_name, tensor in stack.unstack()[member].state_dict().items():
            torch.testing.assert_close(tensor, model.state_dict()[tensor_name], rtol=1e-4, atol=1e-4)


@needs_avx512
def test_members_whose_lstms_keep_much_run_in_smaller_blocks(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(4, 4, 7, 5, generator=generator), torch.randint(3, (4, 4), generator=generator)
    results = []
    for most_bytes, blocks in ((1 << 20, 1), (2 * 6 * 7 * 4 * 6 * 4, 2), (1, 4)):
        monkeypatch.setattr("tenfold.optim.training_step._KEPT_BYTES", most_bytes)
        _, step = compiled_step(Reader, members=4)
        results.append(torch.stack([step(x[i], y[i]) for i in range(4)]))
        assert step.fallback is None
        assert len(step._blocks) == blocks
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(results[2], results[0])


def graph_of(function, *args):
    from torch.fx.experimental.proxy_tensor import make_fx

    return kernels.with_own_products(make_fx(function, tracing_mode="fake")(*args))


@needs_avx512
@pytest.mark.parametrize(
    ("is_slow", "dtype", "replaced"), [(True, torch.float32, 1), (True, torch.float64, 0), (False, torch.float32, 0)]
)
def test_products_are_replaced_where_those_of_pytorch_are_slow(monkeypatch, is_slow, dtype, replaced):
    monkeypatch.setattr("tenfold.stacking.kernels.products.has_slow_products", lambda: is_slow)
    a, b = torch.randn(2, 3, 4, dtype=dtype), torch.randn(2, 4, 5, dtype=dtype)
    graph = graph_of(torch.bmm, a, b)
    assert [node.target for node in graph.graph.nodes].count(torch.ops.tenfold.products.default) == replaced
    torch.testing.assert_close(graph(a, b), torch.bmm(a, b))


@pytest.mark.parametrize(
    ("cpuinfo", "is_slow"), [("vendor_id\t: AuthenticAMD", True), ("vendor_id\t: GenuineIntel", False), ("", False)]
)
def test_the_maker_of_the_processor_tells_whether_mkl_uses_all_of_it(monkeypatch, tmp_path, cpuinfo, is_slow):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{cpuinfo}\n")
    monkeypatch.setattr(library, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert library.has_slow_products.__wrapped__() is is_slow


def test_where_they_cannot_be_built_pytorchs_operators_stay(monkeypatch):
    def fail():
        raise TypeError("load() got an unexpected keyword argument")

    monkeypatch.setattr(library, "library", fail)
    monkeypatch.setattr(library, "_can_be_built", library._can_be_built.__wrapped__)
    assert not kernels.are_there(torch.zeros(2))
    monkeypatch.setattr(library, "library", lambda: None)
    assert kernels.are_there(torch.zeros(2)) is (torch.backends.cpu.get_cpu_capability() == "AVX512")
    assert not kernels.are_there(torch.zeros(2, dtype=torch.float64))
