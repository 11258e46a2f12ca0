"""The library of the kernels: where it applies, how it is built and loaded."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor

from tenfold.core.caches import cache_folder, keep_in_cache

_SAY: ContextVar[Callable[[str], None]] = ContextVar("say", default=lambda sentence: None)
CPUINFO = Path("/proc/cpuinfo")
_SOURCES = (
    "products.cpp", "linear.cpp", "adam.cpp", "lstm.cpp", "convolution.cpp", "norms.cpp", "losses.cpp", "noise.cpp",
    "bounds.cpp",
)  # fmt: skip
_building_s: list[float] = []
OPERATORS = torch.library.Library("tenfold", "DEF")
"""Where the kernels' operators are defined, so that a traced program can hold them."""


def are_there(*tensors: Tensor | None) -> bool:
    """Whether kernels of ours take these: float32 on a CPU with AVX-512, for which they are written.

    The first call builds them.
    """
    for tensor in tensors:  # asked for in every step
        if tensor is not None and not (tensor.is_cpu and tensor.dtype is torch.float32):
            return False
    return _can_be_built()


@functools.cache
def _can_be_built() -> bool:
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        library()
    except Exception:  # no compiler, or a TorchInductor with other names: PyTorch's operators stay
        return False
    return True


@functools.cache
def has_slow_products() -> bool:
    """Whether PyTorch's products leave half of the processor idle.

    They are MKL's, and MKL takes AVX-512 on Intel's processors alone: on an AMD EPYC with Zen 5 cores a core does 110
    GFLOP/s in them, and 220 in ours.
    """
    return bool(torch.backends.mkl.is_available()) and _vendor() not in ("GenuineIntel", "")


def _vendor() -> str:
    return _facts().get("vendor_id", "GenuineIntel" if "Intel" in platform.processor() else "")


def _facts() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        first = CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def say_nothing_of_cuda() -> None:
    """Keeps TorchInductor, when it compiles, from telling once a process that it found no CUDA."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


@contextmanager
def telling(say: Callable[[str], None]) -> Iterator[None]:
    """Within the block, that the kernels are being built is said; it takes seconds, once a machine.

    Args:
        say: gets the sentence.
    """
    token = _SAY.set(say)
    try:
        yield
    finally:
        _SAY.reset(token)


@functools.cache
def library() -> ctypes.CDLL:
    """The kernels, built if need be.

    Kept in the user's cache folder besides the compiler's, because TorchInductor alone takes a second to import.

    Raises:
        Exception: of TorchInductor; or there is no compiler.
    """
    source = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _SOURCES)
    facts = _facts()
    built_for = (source, torch.__version__, facts.get("model name"), facts.get("flags"))
    name = f"kernels-{hashlib.sha256(repr(built_for).encode()).hexdigest()[:16]}.so"
    with contextlib.suppress(OSError, RuntimeError):
        return ctypes.CDLL(str(cache_folder() / name))

    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise RuntimeError("kernels: there is no compiler")  # known without importing TorchInductor

    began = time.perf_counter()
    say_nothing_of_cuda()
    from torch._inductor.codecache import CppCodeCache

    _SAY.get()("kernels: built for this processor, once (about ten seconds)")
    built = CppCodeCache.load(source, needs_vec_isa=True)
    if facts:
        keep_in_cache(name, Path(built._name).read_bytes())
    _building_s.append(time.perf_counter() - began)
    return built


def seconds_of_building() -> float:
    """What building has taken in this process; not to be counted as a step's time.

    Example:
        >>> seconds_of_building() >= 0
        True
    """
    return sum(_building_s)
