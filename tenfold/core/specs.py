"""What a network is built for: the shape of one sample, as data/ finds it and networks/ needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """One sample as the network receives it.

    An image network is called `model(x)` with x float, shape (B, C, H, W). A table network is called `model(x)`
    with x float, shape (B, D), or `model(x, codes)` with codes int64, shape (B, len(cardinalities)), when there
    are categorical columns.

    Attributes:
        kind: "image" or "table".
        shape: shape of one sample: (C, H, W) for an image, (D,) for the numeric columns of a table (D may be 0).
        cardinalities: for each categorical column the number of its codes; code 0 means missing or never seen.
        dense: whether the network says something of each pixel, float, shape (B, K, H, W), rather than of each
            sample, shape (B, K).

    Example:
        >>> InputSpec(kind="image", shape=(1, 28, 28)).num_features
        784
    """

    kind: Literal["image", "table"]
    shape: tuple[int, ...]
    cardinalities: tuple[int, ...] = ()
    dense: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("image", "table"):
            raise ValueError(f"InputSpec: kind must be 'image' or 'table', got {self.kind!r}.")
        expected = 3 if self.kind == "image" else 1
        if len(self.shape) != expected:
            raise ValueError(
                f"InputSpec: shape must have {expected} sizes for kind {self.kind!r}, got {self.shape!r}. "
                "Give (C, H, W) for an image and (D,) for a table."
            )
        if self.dense and self.kind != "image":
            raise ValueError(f"InputSpec: dense must be False for kind {self.kind!r}, which has no pixels.")

    @property
    def num_features(self) -> int:
        """Number of numbers in one sample, categorical columns left out."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    def to_json(self) -> dict[str, Any]:
        """This spec as plain JSON types; `from_json` reads it back."""
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "cardinalities": list(self.cardinalities),
            "dense": self.dense,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> InputSpec:
        """The spec that `to_json` wrote, also before it knew of dense outputs."""
        return cls(
            kind=record["kind"],
            shape=tuple(record["shape"]),
            cardinalities=tuple(record["cardinalities"]),
            dense=record.get("dense", False),
        )
