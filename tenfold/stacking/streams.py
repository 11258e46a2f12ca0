"""A member's own randomness inside the stack: counter-based, so that a draw never depends on who else is there.

A draw is a hash of (member key, step, call site, element number): no state, no order of evaluation. The hash is
SplitMix64's finaliser over a Weyl sequence, which passes BigCrush; int64 arithmetic in torch wraps around, and so
the same numbers come out on every device, inside `torch.vmap` and outside it.

Slow: about ten integer passes over the output; a fused kernel would be one.

References:
    Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014 (section 5, `mix64`).
    Salmon et al.: Parallel random numbers: as easy as 1, 2, 3, SC 2011 (counter-based generators).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from tenfold.stacking.kernels import drawing_pays
from tenfold.stacking.tracing import is_traced


def _int64(value: int) -> int:
    """A 64-bit pattern as the signed integer that torch stores."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _int64(0x9E3779B97F4A7C15)
_MIX_1 = _int64(0xBF58476D1CE4E5B9)
_MIX_2 = _int64(0x94D049BB133111EB)


_DIGITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}


def _shift_right(bits: Tensor, count: int) -> Tensor:
    """Logical right shift (torch's own is arithmetic)."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


class MemberStreams:
    """The random numbers of the member that is being computed.

    Inside `Stack.each` the current one is `member_streams()`. Every call is a new call site: calling twice gives
    two unrelated draws, and the same program at the same step gives the same draws again.

    Args:
        key: the member's key, int64, shape () (batched over members inside vmap).
        step: the training step the draws belong to; a tensor, int64, shape (), where a program is traced.
    """

    def __init__(self, key: Tensor, step: int | Tensor) -> None:
        self._key = key
        self._step = step
        self._site = 0

    def _start(self) -> Tensor:
        """Where the stream of the next call site begins, int64, shape ()."""
        self._site += 1
        counter = (self._step << 20) + self._site
        return _mix(self._key ^ _mix(torch.as_tensor(counter * 2 + 1, device=self._key.device)))

    @staticmethod
    def _bits(start: Tensor, count: int) -> Tensor:
        # added before the product: TorchInductor would write a product of `arange` alone out as signed C++
        # arithmetic, whose overflow is undefined, and the compiled kernel would write beyond its memory
        numbers = torch.arange(1, count + 1, device=start.device)
        return _mix((start + numbers) * _GOLDEN)

    def skip(self, num_sites: int = 1) -> None:
        """Takes call sites without drawing, where a draw would change nothing (dropout with p = 0).

        The draws that follow then do not depend on whether others in the stack needed this one.
        """
        self._site += num_sites

    @property
    def key(self) -> Tensor:
        """The member's key, int64, shape ()."""
        return self._key

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in [0, 1), as fine as the dtype: 53 bits, 24, 11 (float16) or 8 (bfloat16)."""
        digits, count, start = _DIGITS.get(dtype, 24), math.prod(shape), self._start()
        if dtype == torch.float32 and not is_traced() and drawing_pays(start, count):
            numbers: Tensor = torch.ops.tenfold.uniform(start, count)
        else:
            numbers = _shift_right(self._bits(start, count), 64 - digits).to(dtype) * 2.0**-digits
        return numbers.reshape(tuple(shape))

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers by the Box-Muller transform; in float32 for narrower dtypes, then rounded."""
        fine = torch.float64 if dtype == torch.float64 else torch.float32
        radius = torch.sqrt(-2.0 * torch.log1p(-self.uniform(shape, fine)))
        return (radius * torch.cos(2.0 * math.pi * self.uniform(shape, fine))).to(dtype)

    def exponential(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Exponential numbers of rate 1, never 0 (whose logarithm Gumbel noise takes); narrow dtypes by float32."""
        fine = torch.float64 if dtype == torch.float64 else torch.float32
        return -self.uniform(shape, fine).clamp(min=2.0 ** -(_DIGITS[fine] + 1)).log().to(dtype)

    def integers(self, low: int, high: int, shape: Sequence[int]) -> Tensor:
        """Whole numbers in [low, high), int64; evenly as far as high - low is small against 2**53."""
        return (self.uniform(shape, torch.float64) * (high - low)).floor().to(torch.int64) + low

    def permutation(self, n: int) -> Tensor:
        """The numbers 0 to n - 1 in random order, int64, shape (n,)."""
        return self.uniform((n,), torch.float64).argsort()

    def bernoulli(self, probability: float | Tensor, shape: Sequence[int]) -> Tensor:
        """True with the given probability (in [0, 1]); bool, of the given shape."""
        return self.uniform(shape) < probability


_current: ContextVar[MemberStreams | None] = ContextVar("member_streams", default=None)


def member_streams() -> MemberStreams:
    """The streams of the member being computed; valid inside a function that `Stack.each` runs.

    Raises:
        RuntimeError: called outside `Stack.each`.
    """
    streams = _current.get()
    if streams is None:
        raise RuntimeError(
            "member_streams: there is no member outside Stack.each. Call it inside the function you pass to each."
        )
    return streams


@contextmanager
def streams_of(key: Tensor, step: int | Tensor) -> Iterator[MemberStreams]:
    """Makes `member_streams()` answer for one member while the block runs."""
    token = _current.set(MemberStreams(key, step))
    try:
        yield member_streams()
    finally:
        _current.reset(token)
