"""Pretrained weights: from a local file, or from torchvision and timm where this machine can reach them.

A file is a state_dict (`.pt`, `.pth`) or `.safetensors`; nothing in it is executed. What a data set of one's own
changes is adapted: the last layer is left as it starts when the number of classes differs, the first convolution is
summed or repeated for other numbers of channels, positions of patches are interpolated. Anything else that does not
fit is an error.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model_weights, list_models

from tenfold.core.errors import InputError

State = dict[str, Tensor]
TIMM = "timm:"
DEFAULT = "default"
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


def load_pretrained(name: str, network: nn.Module, weights: str | Path) -> nn.Module:
    """Puts pretrained weights into a network.

    Args:
        name: the network's name in the registry.
        network: what `build_network` made of it; changed in place.
        weights: the path of a file, or "default" for those of torchvision or timm.

    Returns:
        The network.

    Raises:
        InputError: the file cannot be read or holds no state_dict, the weights cannot be reached from this machine
            or there are none, or they do not fit the network.

    Example:
        >>> load_pretrained("lenet", nn.Linear(2, 1), "nowhere.pt")
        Traceback (most recent call last):
            ...
        tenfold.core.errors.InputError: lenet: weights must be a file, got nowhere.pt. Check the path.
    """
    state = _default_state(name) if weights == DEFAULT else read_state(name, weights)
    own = network.state_dict()
    head = list(dict(network.named_parameters()))[-1].rpartition(".")[0]
    adapted = {
        key: _adapted(key, value, own.get(key)) for key, value in state.items() if _is_kept(key, value, own, head)
    }
    _check_fit(name, weights, adapted, own, head)
    network.load_state_dict(adapted, strict=False)
    return network


def read_state(name: str, path: str | Path) -> State:
    """The state_dict in a file.

    Args:
        name: who asks, for the error.
        path: `.safetensors`, or what `torch.save` wrote; it may stand under "state_dict" or "model".

    Raises:
        InputError: it cannot be read or holds no state_dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{name}: weights must be a file, got {path}. Check the path.")
    try:
        found = _read(path, path.stat().st_mtime_ns)
    except Exception as error:  # a torn file raises whatever its first wrong byte means to the reader
        raise InputError(
            f"{name}: {path} holds no weights that can be read without running its code ({_first_line(error)}). "
            "Save a state_dict: torch.save(model.state_dict(), path)."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(
            f"{name}: {path} must hold a state_dict, got {type(found).__name__}. Save model.state_dict()."
        )
    for prefix in _PREFIXES:
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


@functools.lru_cache(maxsize=1)  # every member of a stack begins with the same file
def _read(path: Path, changed_ns: int) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


@functools.lru_cache(maxsize=1)
def _default_state(name: str) -> State:
    """The weights that torchvision or timm has for a network.

    Raises:
        InputError: there are none, or this machine cannot reach them.
    """
    if not name.startswith(TIMM) and name not in list_models(module=None):
        raise InputError(f"{name}: weights must be a file, because nobody publishes any for it, got 'default'.")
    try:
        if name.startswith(TIMM):
            import timm

            return timm.create_model(name.removeprefix(TIMM), pretrained=True).state_dict()
        return get_model_weights(name)["DEFAULT"].get_state_dict(progress=False, weights_only=True)
    except Exception as error:
        raise InputError(
            f"{name}: weights='default' must be downloaded, which failed ({_first_line(error)}). "
            "Download them on another machine and give weights=PATH."
        ) from error


def _is_kept(key: str, value: Tensor, own: State, head: str) -> bool:
    """Whether a tensor goes into the network: not an auxiliary classifier, not a last layer for other classes."""
    if key.startswith(_AUXILIARY) and key not in own:
        return False
    return not (key.startswith(f"{head}.") and key in own and value.shape != own[key].shape)


def _adapted(key: str, value: Tensor, target: Tensor | None) -> Tensor:
    """The tensor in the network's shape where it is known how; otherwise as it is."""
    if target is None or value.shape == target.shape:
        return value
    if value.ndim == 4 and target.ndim == 4 and value.shape[1] == 3 and value[:, 0].shape == target[:, 0].shape:
        return _for_channels(value, target.shape[1])
    if key.endswith("pos_embedding") and value.ndim == 3 and value.shape[2] == target.shape[2]:
        return _for_positions(value, target.shape[1])
    return value


def _for_channels(weight_OCHW: Tensor, channels: int) -> Tensor:
    """A first convolution for another number of channels, whose outputs keep their size: a grey image's are equal."""
    return weight_OCHW.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels


def _for_positions(positions_1LD: Tensor, count: int) -> Tensor:
    """The class token's position as it is, the grid's interpolated to another square one."""
    before, after = (round((length - 1) ** 0.5) for length in (positions_1LD.shape[1], count))
    if before**2 != positions_1LD.shape[1] - 1 or after**2 != count - 1:
        return positions_1LD
    grid = positions_1LD[:, 1:].transpose(1, 2).unflatten(2, (before, before))
    grid = F.interpolate(grid, size=(after, after), mode="bicubic", align_corners=True)
    return torch.cat([positions_1LD[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def _check_fit(name: str, weights: str | Path, state: State, own: State, head: str) -> None:
    """Refuses weights of another network.

    Raises:
        InputError: a tensor is missing, too many, or of another shape; the sentence names the first.
    """
    mend = "Weights fit one network at one width; those of large images need stem='large'."
    for key, value in state.items():
        if key not in own:
            raise InputError(f"{name}: weights {weights} has {key!r}, which the network has not. {mend}")
        if value.shape != own[key].shape:
            raise InputError(
                f"{name}: {key} must have the shape {tuple(own[key].shape)}, got {tuple(value.shape)} in weights "
                f"{weights}. {mend}"
            )
    missing = [key for key in own if key not in state and not key.startswith(f"{head}.")]
    if missing and not all(key.endswith("num_batches_tracked") for key in missing):
        raise InputError(f"{name}: weights {weights} lacks {missing[0]!r}. {mend}")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120] if str(error).strip() else ''}"
