"""Any model of timm, by the name "timm:NAME"; needs the extra: `pip install 'tenfold[timm]'`.

timm's models take any number of channels and classes. Those made for one image size (most transformers) are built
for the size at hand. How they stack is up to their code: what cannot run as one program runs one after another.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from torch import nn

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_rate
from tenfold.networks.pretrained import TIMM


def timm_entry(name: str) -> NetworkEntry:
    """The entry of a model of timm.

    Args:
        name: "timm:" and timm's name.

    Raises:
        InputError: timm is not installed, or has no such model.
    """
    timm = _timm(name)
    model = name.removeprefix(TIMM)
    if not timm.is_model(model):
        raise InputError(f"unknown network {name!r}.{did_you_mean(model, timm.list_models())}")
    return NetworkEntry(
        name=name,
        build=partial(build_timm, name),
        kinds=frozenset({"image"}),
        reference="Wightman, PyTorch Image Models (timm)",
        heavy=True,
        pretrained=True,
        stacks="as far as its code can run under vmap",
    )


def build_timm(
    name: str, spec: InputSpec, num_outputs: int, *, drop_rate: float = 0.0, drop_path_rate: float = 0.0
) -> nn.Module:
    """A model of timm for the given image.

    Args:
        name: "timm:" and timm's name.
        spec: an image.
        num_outputs: K, at least 1.
        drop_rate: dropout before the last layer, in [0, 1).
        drop_path_rate: stochastic depth, in [0, 1); not every model has it.

    Returns:
        The network; x float, shape (B, C, H, W), gives outputs float, shape (B, K).

    Raises:
        InputError: timm is not installed, or cannot build the model so.
        ValueError: a rate is out of its range.
    """
    check_rate(name, drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    timm, model = _timm(name), name.removeprefix(TIMM)
    options: dict[str, Any] = {"num_classes": num_outputs, "in_chans": spec.shape[0]}
    options |= {key: rate for key, rate in {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}.items() if rate}
    default = timm.get_pretrained_cfg(model)
    if default is not None and default.fixed_input_size:
        options["img_size"] = spec.shape[1:]
    try:
        return timm.create_model(model, pretrained=False, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{name}: timm cannot build it with {options} ({reason}). Change them.") from error


def _timm(name: str) -> ModuleType:
    """The library.

    Raises:
        InputError: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError(f"{name}: needs timm, which is not installed. Run: pip install 'tenfold[timm]'.") from error
    return timm
