"""The effective receptive field: how much each pixel moves the middle output, by the gradient.

In theory every pixel of the field counts; in a real network the middle counts most, and the field that matters is a
blob that grows with the square root of the depth.

A axes of the input

References:
    Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks",
    NeurIPS 2016, section 3: the measure, and the bound of 1 - 95.45 % of the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.seeds import torch_seed
from tenfold.core.writing import written_beside
from tenfold.diagnosis.receptive_field import ReceptiveField, last_local, receptive_fields, sizes_in_words
from tenfold.diagnosis.tracing import evaluating, trace

COUNTS = 1 - 0.9545  # of the largest influence: two standard deviations of a Gaussian
_SIDE = 384  # least side of a picture, in pixels
_COLOURS = np.array([[13, 8, 60], [120, 28, 109], [229, 92, 48], [252, 255, 164]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class EffectiveField:
    """How much each pixel moves the middle output of a layer.

    Attributes:
        layer: its name.
        influence: float64, of the input's size along its axes; the largest is 1, or all are 0.
        theory: the theoretical field of the layer.
        low: where the middle output's theoretical field begins, one position an axis, cut to the input.
        high: where it ends, included.
    """

    layer: str
    influence: np.ndarray
    theory: ReceptiveField
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def size(self) -> float:
        """The side of the square (or length of the stretch) that holds as many pixels as count."""
        return float((self.influence > COUNTS).sum() ** (1 / self.influence.ndim))

    @property
    def sigma(self) -> tuple[float, ...]:
        """The standard deviation of the influence along each axis, in pixels."""
        total = self.influence.sum()
        found = []
        for axis in range(self.influence.ndim):
            others = tuple(d for d in range(self.influence.ndim) if d != axis)
            weights = self.influence.sum(axis=others) / (total or 1.0)
            places = np.arange(len(weights))
            middle = (weights * places).sum()
            found.append(float(np.sqrt((weights * (places - middle) ** 2).sum())))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain JSON types, without the map."""
        return {
            "layer": self.layer,
            "size": self.size,
            "sigma": list(self.sigma),
            "theory": self.theory.to_json(),
            "low": list(self.low),
            "high": list(self.high),
        }

    def __str__(self) -> str:
        sigma = " x ".join(f"{value:.1f}" for value in self.sigma)
        return (
            f"effective field of {self.layer or 'the network'}: {self.size:.1f} pixels a side count "
            f"(standard deviation {sigma}), of {sizes_in_words(self.theory.size)} in theory"
        )

    def save(self, path: str | Path) -> Path:
        """Writes the map as a picture, with the theoretical field as a frame.

        Args:
            path: of a .png file, replaced if it exists.

        Raises:
            InputError: the path has another ending, or cannot be written to.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise InputError(f"--field: must be a .png file, got {str(path)!r}. Name it field.png.")
        try:
            with written_beside(path) as draft:
                self.picture().save(draft, "PNG")
        except OSError as error:
            raise InputError(
                f"--field: {path} cannot be written ({error.strerror}). Choose another place."
            ) from error
        return path

    def picture(self) -> Image.Image:
        """The map in colours, dark to light, each pixel a square; a frame is the field in theory."""
        flat = self.influence.reshape(-1, self.influence.shape[-1])
        scale = max(1, -(-_SIDE // max(flat.shape)))
        stops = np.linspace(0, 1, len(_COLOURS))
        colours = np.stack([np.interp(np.sqrt(flat), stops, _COLOURS[:, c]) for c in range(3)], axis=-1)
        pixels = colours.astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
        image = Image.fromarray(pixels)
        low, high = self.low[-2:], self.high[-2:]
        if self.influence.ndim < 2:
            low, high = (0, *low), (0, *high)
        box = [low[1] * scale, low[0] * scale, (high[1] + 1) * scale - 1, (high[0] + 1) * scale - 1]
        ImageDraw.Draw(image).rectangle(box, outline=(255, 255, 255))
        return image


def effective_field(
    model: nn.Module, shape: Sequence[int], *, layer: str | None = None, samples: int = 8, seed: int = 0
) -> EffectiveField:
    """Measures the influence of each pixel on a layer's middle output, with the network's own weights.

    Args:
        model: any module that takes one tensor; in evaluation mode meanwhile.
        shape: of one sample, with channels first.
        layer: the name of a module whose output is a map; by default the last one before all is mixed.
        samples: random inputs, standard normal, over which magnitudes are averaged; at least 1.
        seed: of the inputs.

    Raises:
        InputError: there is no such layer, or its output is no map.
        ValueError: `samples` is below 1.

    Example:
        >>> field = effective_field(nn.Conv2d(1, 4, 3, padding=1), (1, 9, 9))
        >>> field.low, field.high, int((field.influence > 0).sum())
        ((3, 3), (5, 5), 9)
    """
    if samples < 1:
        raise ValueError(f"effective_field: samples must be at least 1, got {samples!r}. Give a number of inputs.")
    seen = trace(model, [torch.zeros(1, *shape)])
    fields = receptive_fields(seen)
    name = last_local({k: v for k, v in fields.items() if _is_map(seen.outputs.get(k), shape)})
    if layer is not None:
        if layer not in dict(model.named_modules()):
            raise InputError(f"--layer: no layer {layer!r}.{did_you_mean(layer, dict(model.named_modules()))}")
        name = layer
    theory = None if name is None else fields.get(name)
    if name is None or theory is None or not _is_map(seen.outputs.get(name), shape):
        raise InputError(
            f"effective_field: {'the network has no layer' if name is None else name + ' is no layer'} with a map "
            "as its output. Name one whose output has height and width, such as a convolution."
        )
    with torch_seed(seed):
        inputs = torch.randn(samples, *shape)
    gradient = _gradient_of_middle(model, name, inputs).double().abs().sum(dim=1).mean(dim=0)
    influence = (gradient / gradient.max().clamp(min=1e-300)).numpy()
    places = [size // 2 for size in seen.outputs[name].shape[2:]]
    low, high = _stretch(theory, places, shape[1:])
    return EffectiveField(layer=name, influence=influence, theory=theory, low=low, high=high)


def _is_map(out: Tensor | None, shape: Sequence[int]) -> bool:
    """Whether an output has channels and one position for each stretch of the input."""
    return out is not None and out.ndim == len(shape) + 1 >= 3 and any(size > 1 for size in out.shape[2:])


def _gradient_of_middle(model: nn.Module, name: str, inputs: Tensor) -> Tensor:
    """The gradient of the sum over channels at the middle, by the input, sample by sample; shape as the inputs."""
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _args: Any, output: Any) -> None:
        caught.extend(leaf for leaf in pytree.tree_leaves(output)[:1] if isinstance(leaf, Tensor))

    like = next(iter(model.parameters()), inputs)
    inputs = inputs.to(device=like.device, dtype=like.dtype).requires_grad_()
    hook = model.get_submodule(name).register_forward_hook(catch)
    try:
        with evaluating(model), torch.enable_grad():
            model(inputs)
            out = caught[-1]
            for size in out.shape[2:]:
                out = out.select(2, size // 2)
            if not out.requires_grad:
                raise InputError(
                    f"effective_field: {name} depends on the input without a gradient. Name another layer."
                )
            [gradient] = torch.autograd.grad(out.sum(), inputs, materialize_grads=True)
    finally:
        hook.remove()
    return gradient.detach().cpu()


def _stretch(
    theory: ReceptiveField, places: Sequence[int], sizes: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First and last position of the field of the output at these places, cut to the input."""
    low, high = [], []
    for place, size, stride, center, field in zip(
        places, sizes, theory.stride, theory.center, theory.size, strict=True
    ):
        middle = center + place * (stride or 0.0)
        low.append(max(0, round(middle - (field - 1) / 2)))
        high.append(min(size - 1, round(middle + (field - 1) / 2)))
    return tuple(low), tuple(high)
