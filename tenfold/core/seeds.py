"""Named streams of randomness: every draw derives from (seed, stream, indices), never from a global state.

The same question asked in another order, on another stack or with other workers therefore gets the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

STREAMS = ("init", "order", "augment", "noise", "split", "sample")


def derive_seed(seed: int, stream: str, *indices: int) -> int:
    """A 63-bit seed for one stream of one owner.

    Args:
        seed: the run's or member's seed, any integer.
        stream: one of `STREAMS`.
        indices: what the draw belongs to, such as the epoch and the sample.

    Returns:
        An integer in [0, 2**63), a BLAKE2b hash of the arguments: equal arguments give equal seeds on every
        machine and version, and different arguments give unrelated ones.

    Raises:
        ValueError: the stream has no name here.

    Example:
        >>> derive_seed(0, "order", 3) == derive_seed(0, "order", 3) != derive_seed(0, "init", 3)
        True
    """
    if stream not in STREAMS:
        raise ValueError(f"derive_seed: stream must be one of {STREAMS}, got {stream!r}.")
    text = "/".join([str(int(seed)), stream, *(str(int(index)) for index in indices)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, stream: str, *indices: int) -> np.random.Generator:
    """A NumPy generator (Philox, counter-based) for one stream of one owner; arguments as in `derive_seed`."""
    return np.random.Generator(np.random.Philox(derive_seed(seed, stream, *indices)))


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Runs a block under `torch.manual_seed(seed)` and gives the caller's random state back afterwards.

    Example:
        >>> with torch_seed(7):
        ...     a = torch.rand(2)
        >>> with torch_seed(7):
        ...     torch.equal(a, torch.rand(2))
        True
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        _seed_all(seed)
        yield


def _seed_all(seed: int) -> None:
    """As `torch.manual_seed`, which without an accelerator takes a stack trace down for later, in a millisecond."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
