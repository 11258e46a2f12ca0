"""What a network costs and sees, in one object that shows itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from tenfold.diagnosis.findings import Finding
from tenfold.diagnosis.layers import Layer, layers_of
from tenfold.diagnosis.memory import kept_bytes
from tenfold.diagnosis.receptive_field import ReceptiveField, last_local, receptive_fields
from tenfold.diagnosis.showing import as_html, as_text
from tenfold.diagnosis.tracing import trace


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A network, looked at from outside; numbers are for one sample.

    Attributes:
        name: what it is called.
        input_shapes: of what it was called with, without the batch.
        layers: one row a layer.
        output_receptive_field: of the network's output; None where the input has no axes.
        parameter_bytes: what its parameters take.
        trainable_bytes: what those of them take that have a gradient.
        findings: what is wrong with its gradients; empty where nothing is, or where no training was looked at.
        health: the numbers by layer that the findings come from; None where no training was looked at.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    layers: tuple[Layer, ...]
    output_receptive_field: ReceptiveField | None = None
    parameter_bytes: int = 0
    trainable_bytes: int = 0
    findings: tuple[Finding, ...] = ()
    health: Any = field(default=None, repr=False)

    @property
    def parameters(self) -> int:
        """Numbers that it learns or holds fixed."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """Those that have a gradient."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def flops(self) -> int:
        """Forward, two a multiply-add, without biases."""
        return sum(layer.flops for layer in self.layers)

    @property
    def flops_with_bias(self) -> int:
        """As `flops`, with one addition an output for each bias."""
        return self.flops + sum(layer.bias_flops for layer in self.layers)

    @property
    def backward_flops(self) -> int:
        """Of the gradients of what is trainable, without biases."""
        return sum(layer.backward_flops for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """What the forward pass of a training step keeps for the backward pass."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """The widest field that is not yet the whole input: of the last layer before all is mixed.

        Where already the first layer sees the whole input, that; None where the input has no axes.
        """
        fields = {layer.name: layer.receptive_field for layer in self.layers}
        name = last_local(fields)
        return self.output_receptive_field if name is None else fields[name]

    def training_bytes(self, batch_size: int, *, moments: int = 2) -> int:
        """What a training step holds at least: weights, gradients, the optimiser's moments, and kept activations.

        Args:
            batch_size: samples in a batch, at least 1.
            moments: numbers a weight that the optimiser keeps: 2 for Adam, 1 for SGD with momentum, 0 without.
        """
        of_weights = self.parameter_bytes + (1 + moments) * self.trainable_bytes
        return of_weights + batch_size * self.activation_bytes

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types, layers included."""
        field, whole = self.receptive_field, self.output_receptive_field
        return {
            "name": self.name,
            "input": [list(shape) for shape in self.input_shapes],
            "parameters": self.parameters,
            "trainable": self.trainable,
            "flops": self.flops,
            "flops_with_bias": self.flops_with_bias,
            "backward_flops": self.backward_flops,
            "activation_bytes": self.activation_bytes,
            "parameter_bytes": self.parameter_bytes,
            "trainable_bytes": self.trainable_bytes,
            "receptive_field": None if field is None else field.to_json(),
            "output_receptive_field": None if whole is None else whole.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
            "findings": [finding.to_json() for finding in self.findings],
        }

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        return as_html(self)


def inspect_module(
    model: nn.Module, inputs: Sequence[Tensor], *, name: str = "", fields: bool = True, memory: bool = True
) -> Inspection:
    """What a network costs and sees; it is not changed, and only shapes of the inputs matter.

    Args:
        model: any module.
        inputs: what it is called with: a batch of one sample.
        name: what to call it; by default its class.
        fields: also work out receptive fields, which takes about as long as all the rest.
        memory: also work out what is kept for the backward pass, which takes a second pass.

    Raises:
        InputError: the network cannot be called with these inputs.

    Example:
        >>> import torch
        >>> convolution = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        >>> inspect_module(convolution, [torch.zeros(1, 64, 480, 640)]).flops
        22649241600
    """
    seen = trace(model, inputs)
    sees = receptive_fields(seen) if fields else {}
    return Inspection(
        name=name or type(model).__name__,
        input_shapes=tuple(tuple(x.shape[1:]) for x in inputs),
        layers=layers_of(model, seen, sees, kept_bytes(model, inputs) if memory else {}),
        output_receptive_field=sees.get(""),
        parameter_bytes=_bytes_of(model.parameters()),
        trainable_bytes=_bytes_of(p for p in model.parameters() if p.requires_grad),
    )


def _bytes_of(parameters: Iterable[nn.Parameter]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)
