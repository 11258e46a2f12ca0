"""Random numbers by name (`torch.rand`, `Tensor.normal_`, ...) from the member's own streams.

A `generator` that the caller passes is not used: it has one state for all members, so that what a member draws
would depend on who was computed before it.

Left to PyTorch's generator, and so to the serial form: `poisson`, `binomial`, `random_` without an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.stacking.streams import member_streams
from tenfold.stacking.values import plain_number

_EMPTY_OPTIONS = {"dtype", "device", "requires_grad", "layout", "memory_format", "size"}


def _size(args: Sequence[Any], options: dict[str, Any]) -> tuple[int, ...]:
    """A size given as numbers, as one sequence, or by name."""
    size = options.get("size", args)
    return tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)


def _refuse_out(options: dict[str, Any]) -> None:
    if options.get("out") is not None:
        raise RuntimeError("torch.rand and randn inside each: out is not supported. Use the value that they return.")


def _rand(*size: Any, **options: Any) -> Tensor:
    _refuse_out(options)
    return member_streams().uniform(_size(size, options), options.get("dtype") or torch.get_default_dtype())


def _randn(*size: Any, **options: Any) -> Tensor:
    _refuse_out(options)
    return member_streams().normal(_size(size, options), options.get("dtype") or torch.get_default_dtype())


def _rand_like(input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().uniform(input.shape, dtype or input.dtype)


def _randn_like(input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return member_streams().normal(input.shape, dtype or input.dtype)


def _bernoulli(input: Tensor, p: Any = None, **options: Any) -> Tensor:
    _refuse_out(options)
    return member_streams().bernoulli(input if p is None else plain_number(p), input.shape).to(input.dtype)


def _normal(mean: Any = 0.0, std: Any = 1.0, size: Sequence[int] | None = None, **options: Any) -> Tensor:
    """`torch.normal`; like PyTorch's it gives no gradient to mean and std."""
    _refuse_out(options)
    given = [value for value in (mean, std) if isinstance(value, Tensor)]
    shape = tuple(size) if size is not None else torch.broadcast_shapes(*(value.shape for value in given))
    dtype = options.get("dtype") or (given[0].dtype if given else torch.get_default_dtype())
    return (mean + std * member_streams().normal(shape, dtype)).detach()


def _randint(*args: Any, **options: Any) -> Tensor:
    """`torch.randint(high, size)` and `torch.randint(low, high, size)`, in any mixture of names."""
    _refuse_out(options)
    bounds = [value for value in args if isinstance(value, int)]
    size = options.get("size") or next(value for value in args if not isinstance(value, int))
    low, high = _bounds(bounds, options)
    return member_streams().integers(low, high, tuple(size)).to(options.get("dtype") or torch.int64)


def _randint_like(input: Tensor, *args: int, **options: Any) -> Tensor:
    low, high = _bounds(args, options)
    return member_streams().integers(low, high, input.shape).to(options.get("dtype") or input.dtype)


def _bounds(given: Sequence[int], options: dict[str, Any]) -> tuple[int, int]:
    low = options.get("low", 0 if len(given) < 2 and "high" not in options else given[0] if given else 0)
    high = options["high"] if "high" in options else given[-1]
    return low, high


def _randperm(n: int, **options: Any) -> Tensor:
    _refuse_out(options)
    return member_streams().permutation(n).to(options.get("dtype") or torch.int64)


def _multinomial(input: Tensor, num_samples: int, replacement: bool = False, **options: Any) -> Tensor:
    """By the Gumbel trick: the largest of log-weights plus Gumbel noise (Kool et al., ICML 2019).

    That the weights are valid is not looked at: their sum is a value a member.
    """
    _refuse_out(options)
    streams = member_streams()
    weights = input.detach()
    if not replacement:
        return (weights / streams.exponential(weights.shape, weights.dtype)).topk(num_samples, dim=-1).indices
    noise = streams.exponential((*weights.shape[:-1], num_samples, weights.shape[-1]), weights.dtype)
    return (weights.unsqueeze(-2) / noise).argmax(-1)


def _gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Jang et al., ICLR 2017, equation 2; `hard` is one-hot with the gradient of the soft one (straight through)."""
    noise = -member_streams().exponential(logits.shape, logits.dtype).log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft


def _fill(tensor: Tensor, draw: Tensor) -> Tensor:
    """Writes a member's draw into a tensor; one that all members share has no room for it."""
    try:
        return tensor.copy_(draw)
    except RuntimeError as error:
        raise RuntimeError(
            "a tensor that all members share cannot be filled with each member's own random numbers; "
            "write torch.rand or torch.randn of that shape, or fill torch.empty"
        ) from error


def _fine(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _bernoulli_(self: Tensor, p: Any = 0.5, **_: Any) -> Tensor:
    return _fill(self, member_streams().bernoulli(plain_number(p), self.shape).to(self.dtype))


def _normal_(self: Tensor, mean: Any = 0.0, std: Any = 1.0, **_: Any) -> Tensor:
    draw = plain_number(mean) + plain_number(std) * member_streams().normal(self.shape, _fine(self))
    return _fill(self, draw.to(self.dtype))


def _log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, **_: Any) -> Tensor:
    return _fill(self, (mean + std * member_streams().normal(self.shape, _fine(self))).exp().to(self.dtype))


def _uniform_(self: Tensor, *args: Any, **options: Any) -> Tensor:
    low, high = (plain_number(value) for value in _pair(args, options, ("from", 0.0), ("to", 1.0)))
    return _fill(self, (low + (high - low) * member_streams().uniform(self.shape, _fine(self))).to(self.dtype))


def _exponential_(self: Tensor, lambd: Any = 1.0, **_: Any) -> Tensor:
    return _fill(self, (member_streams().exponential(self.shape, _fine(self)) / plain_number(lambd)).to(self.dtype))


def _cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, **_: Any) -> Tensor:
    quantile = member_streams().uniform(self.shape, _fine(self)) - 0.5
    return _fill(self, (median + sigma * torch.tan(math.pi * quantile)).to(self.dtype))


def _geometric_(self: Tensor, p: Any, **_: Any) -> Tensor:
    """The number of trials up to the first success: an exponential number of rate -log(1 - p), rounded up."""
    rate = -torch.log1p(-torch.as_tensor(plain_number(p), dtype=torch.float64))
    draw = (member_streams().exponential(self.shape, torch.float64) / rate).ceil().clamp(min=1)
    return _fill(self, draw.to(self.dtype))


def _random_(self: Tensor, *args: Any, **options: Any) -> Tensor:
    """`random_(to)` and `random_(from, to)`."""
    if not args and "to" not in options:
        return self.random_(**options)
    low = options.get("from", args[0] if len(args) > 1 else 0)
    high = options["to"] if "to" in options else args[-1]
    return _fill(self, member_streams().integers(low, high, self.shape).to(self.dtype))


def _pair(args: Sequence[Any], options: dict[str, Any], *defaults: tuple[str, Any]) -> tuple[Any, ...]:
    return tuple(
        args[place] if place < len(args) else options.get(name, default)
        for place, (name, default) in enumerate(defaults)
    )


def _drawn_in_turn(native: Any) -> Callable[..., Any]:
    """Under vmap: refuses in words what it would refuse as "randomness error mode"."""

    def rule(*args: Any, **options: Any) -> Any:
        raise RuntimeError(f"{native.__name__} draws from PyTorch's generator, which is set to one member at a time")

    return rule


def _empty(*size: Any, **options: Any) -> Tensor:
    """Under vmap: memory for every member, so that each can fill in what it draws (indices stay shared)."""
    dtype = options.get("dtype") or torch.get_default_dtype()
    if not set(options) <= _EMPTY_OPTIONS or not dtype.is_floating_point:
        return torch.empty(*size, **options)
    return member_streams().key.new_empty(_size(size, options), dtype=dtype, device=options.get("device"))


def _empty_like(input: Tensor, **options: Any) -> Tensor:
    dtype, device = options.get("dtype") or input.dtype, options.get("device") or input.device
    if not dtype.is_floating_point:
        return torch.empty_like(input, **options)
    return member_streams().key.new_empty(tuple(input.shape), dtype=dtype, device=device)


def _new_empty(self: Tensor, *size: Any, **options: Any) -> Tensor:
    dtype, device = options.get("dtype") or self.dtype, options.get("device") or self.device
    if not dtype.is_floating_point:
        return self.new_empty(*size, **options)
    return member_streams().key.new_empty(_size(size, options), dtype=dtype, device=device)


DRAWS: dict[Any, Callable[..., Any]] = {
    torch.rand: _rand,
    torch.randn: _randn,
    torch.rand_like: _rand_like,
    torch.randn_like: _randn_like,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    torch.normal: _normal,
    torch.randint: _randint,
    torch.randint_like: _randint_like,
    torch.randperm: _randperm,
    torch.multinomial: _multinomial,
    Tensor.multinomial: _multinomial,
    F.gumbel_softmax: _gumbel_softmax,
    Tensor.bernoulli_: _bernoulli_,
    Tensor.normal_: _normal_,
    Tensor.log_normal_: _log_normal_,
    Tensor.uniform_: _uniform_,
    Tensor.exponential_: _exponential_,
    Tensor.random_: _random_,
    Tensor.cauchy_: _cauchy_,
    Tensor.geometric_: _geometric_,
}

DRAWN_IN_TURN: dict[Any, Callable[..., Any]] = {
    native: _drawn_in_turn(native) for native in (torch.poisson, torch.binomial)
}

EMPTY: dict[Any, Callable[..., Any]] = {
    torch.empty: _empty,
    torch.empty_like: _empty_like,
    Tensor.new_empty: _new_empty,
}
