"""The multilayer perceptron, for tables and for small images.

B batch, D features, L categorical columns, K outputs
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_choice
from tenfold.nn import CategoryEmbedding, activation
from tenfold.tuning import Categorical, Constant

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": nn.Identity,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}


class MLP(nn.Module):
    """`depth` hidden layers of equal width: linear, norm, activation; then a linear layer to the outputs.

    Images are flattened. Categorical columns are embedded (`CategoryEmbedding`) and stand after the numeric
    ones.

    Args:
        spec: the input.
        num_outputs: K, at least 1.
        hidden: width of each hidden layer, at least 1.
        depth: number of hidden layers, at least 1.
        activation: a name in `tenfold.nn.ACTIVATIONS`.
        norm: "none", "batch" or "layer", before the activation. Batch norm takes the layer's own bias away,
            which it would cancel.

    Raises:
        ValueError: hidden or depth is not a whole number of at least 1, or the norm has no such name.
        InputError: the activation has no such name.

    Example:
        >>> network = MLP(InputSpec(kind="image", shape=(1, 8, 8)), num_outputs=10, hidden=128, depth=2)
        >>> network(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])

    References:
        Gorishniy, Rubachev, Khrulkov and Babenko, "Revisiting Deep Learning Models for Tabular Data", NeurIPS
        2021, section 3.1.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        hidden: int = 128,
        depth: int = 2,
        activation: str = "relu",
        norm: str = "none",
    ) -> None:
        super().__init__()
        check_at_least("mlp", 1, hidden=hidden, depth=depth)
        check_choice("mlp", tuple(NORMS), norm=norm)
        self.flatten = nn.Flatten()
        self.embedding = CategoryEmbedding(spec.cardinalities) if spec.cardinalities else None
        width = spec.num_features + (self.embedding.out_features if self.embedding is not None else 0)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers.append(_hidden_layer(width, hidden, activation, norm))
            width = hidden
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(width, num_outputs)

    def forward(self, x: Tensor, codes_BL: Tensor | None = None) -> Tensor:
        """Outputs float, shape (B, K), of x float, shape (B, ...), and codes int64, shape (B, L)."""
        features_BD = self.flatten(x)
        if self.embedding is not None and codes_BL is not None:
            features_BD = torch.cat([features_BD, self.embedding(codes_BL)], dim=1)
        return self.output(self.hidden(features_BD))


def _hidden_layer(in_features: int, out_features: int, activation_name: str, norm: str) -> nn.Sequential:
    linear = nn.Linear(in_features, out_features, bias=norm != "batch")
    norms = [] if norm == "none" else [NORMS[norm](out_features)]
    return nn.Sequential(linear, *norms, activation(activation_name))


MLP_ENTRY = NetworkEntry(
    name="mlp",
    build=MLP,
    kinds=frozenset({"image", "table"}),
    space={
        "hidden": Categorical((128, 256), reason="wide enough for most tables; few, as each is a structure"),
        "depth": Categorical((2, 3), reason="more plain layers seldom help; few, as each is a structure"),
        "activation": Constant("relu", reason="the cheapest, seldom behind; each other one is a structure"),
        "norm": Constant("none", reason="inputs are standardised and the network is shallow"),
    },
    reference="Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021, section 3.1",
    default=True,
    stacks="members of equal hidden, depth, activation and norm are one program",
)
