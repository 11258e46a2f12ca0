"""What this machine has: memory, threads, versions; read where it is asked for, never cached."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.wording import plural

_CGROUP = Path("/sys/fs/cgroup")
_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
_OTHER_NAMES = {"gpu": "cuda", "nvidia": "cuda"}  # "gpu" is nearer to "cpu" in letters


def available_memory_bytes(device: torch.device | str = "cpu") -> int:
    """Memory that can be taken now, in bytes: the device's free memory, or the system's and its container's.

    Example:
        >>> available_memory_bytes() > 0
        True
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _meminfo("MemAvailable:")
    limits = [limit for limit in (free, _cgroup_left()) if limit is not None]
    return min(limits) if limits else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _meminfo(name: str) -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _cgroup_left() -> int | None:
    """What a container's memory limit leaves, or None where there is none; pages of files count as free."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        kinds = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used -= int(kinds.get("inactive_file", 0)) + int(kinds.get("active_file", 0))
        return None if limit == "max" else max(int(limit) - used, 0)
    except (OSError, ValueError):
        return None


def peak_memory_bytes() -> int:
    """The largest resident memory this process has had, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def describe_device(device: torch.device | str, threads: int) -> str:
    """The device in words, such as "cpu, 2 threads" or "cuda, NVIDIA H200".

    Example:
        >>> describe_device("cpu", 1)
        'cpu, 1 thread'
    """
    device = torch.device(device)
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"{device.type}, {threads} thread{'' if threads == 1 else 's'}"


def choose_device(name: str) -> torch.device:
    """The device that a name stands for; "auto" is CUDA where there is one, the CPU otherwise.

    Raises:
        InputError: there is no such device, or it is not there.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
        >>> choose_device("gpu")
        Traceback (most recent call last):
            ...
        tenfold.core.errors.InputError: --device: there is no device 'gpu'. Did you mean 'cuda'?
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        meant = _OTHER_NAMES.get(name.lower(), name)
        raise InputError(f"--device: there is no device {name!r}.{did_you_mean(meant, _DEVICES)}") from None
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        raise InputError(
            f"--device must be auto, cpu or a device that is there, got {name!r} ({reason}). Leave it out."
        ) from error
    return device


def check_threads(count: int | None) -> None:
    """Refuses more threads than this machine has cores: they would only wait for one another.

    Args:
        count: what was asked for, >= 1, or None.

    Raises:
        InputError: it has fewer.
    """
    cores = os.cpu_count() or 1
    if count is not None and count > cores:
        raise InputError(
            f"--threads must be at most the {plural(cores, 'core')} of this machine, got {count}. Leave it out for a "
            "good number."
        )


def versions() -> dict[str, Any]:
    """Versions of what results depend on."""
    import numpy
    import sklearn

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scikit-learn": sklearn.__version__,
        "platform": platform.platform(),
    }


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Runs a block with this many threads for torch's own work, and sets the old number again.

    Example:
        >>> with num_threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
