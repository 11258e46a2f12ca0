"""The multilayer perceptron, for tables and for small images.

B batch, D features, L categorical columns, K outputs
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_choice, check_rate, dropout
from tenfold.nn import CategoryEmbedding, Residual, activation, activation_inputs
from tenfold.tuning import Categorical, Constant

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": nn.Identity,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}


class MLP(nn.Module):
    """`depth` hidden layers of equal width: linear, norm, activation, dropout; then a linear layer to the outputs.

    In the residual form, with as many weights, each linear layer but the first stands behind norm, activation and
    dropout and is added to what goes into them, so that gradients reach the first of forty as they do the last.

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
        drop_prob: share of the hidden units that is dropped in training, in [0, 1).
        residual: whether layers are added to their inputs.

    Raises:
        ValueError: hidden or depth is not a whole number of at least 1, drop_prob not in [0, 1), residual not true or
            false, or the norm has no such name.
        InputError: the activation has no such name.

    Example:
        >>> network = MLP(InputSpec(kind="image", shape=(1, 8, 8)), num_outputs=10, hidden=128, depth=2)
        >>> network(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])

    References:
        Gorishniy, Rubachev, Khrulkov and Babenko, "Revisiting Deep Learning Models for Tabular Data", NeurIPS
        2021, section 3.1.
        He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016, figure 4 e (residual).
        Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014.
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
        drop_prob: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_at_least("mlp", 1, hidden=hidden, depth=depth)
        check_choice("mlp", tuple(NORMS), norm=norm)
        check_rate("mlp", drop_prob=drop_prob)
        check_choice("mlp", (True, False), residual=residual)
        self.flatten = nn.Flatten()
        self.embedding = CategoryEmbedding(spec.cardinalities) if spec.cardinalities else None
        width = spec.num_features + (self.embedding.out_features if self.embedding is not None else 0)
        hidden_layers = _residual_layers if residual else _plain_layers
        self.hidden = nn.Sequential(*hidden_layers(width, hidden, depth, _Between(activation, norm, drop_prob)))
        self.output = nn.Linear(hidden, num_outputs)

    def forward(self, x: Tensor, codes_BL: Tensor | None = None) -> Tensor:
        """Outputs float, shape (B, K), of x float, shape (B, ...), and codes int64, shape (B, L)."""
        features_BD = self.flatten(x)
        if self.embedding is not None and codes_BL is not None:
            features_BD = torch.cat([features_BD, self.embedding(codes_BL)], dim=1)
        return self.output(self.hidden(features_BD))


class _Between:
    """What stands between two linear layers: norm, activation, dropout.

    Attributes:
        pieces: features that the activation takes for each one it gives.
        bias: whether the linear layer in front has one; batch norm would cancel it.
    """

    def __init__(self, activation_name: str, norm: str, drop_prob: float) -> None:
        self.activation_name, self.norm, self.drop_prob = activation_name, norm, drop_prob
        self.pieces, self.bias = activation_inputs(activation_name), norm != "batch"

    def layers(self, hidden: int) -> list[nn.Module]:
        """New ones that give `hidden` features of `pieces` times as many."""
        norms = [] if self.norm == "none" else [NORMS[self.norm](hidden * self.pieces)]
        return [*norms, activation(self.activation_name), *dropout(self.drop_prob)]


def _plain_layers(in_features: int, hidden: int, depth: int, between: _Between) -> list[nn.Module]:
    widths = [in_features, *[hidden] * (depth - 1)]
    return [
        nn.Sequential(nn.Linear(width, hidden * between.pieces, bias=between.bias), *between.layers(hidden))
        for width in widths
    ]


def _residual_layers(in_features: int, hidden: int, depth: int, between: _Between) -> list[nn.Module]:
    stream = hidden * between.pieces
    blocks = (
        Residual(nn.Sequential(*between.layers(hidden), nn.Linear(hidden, stream, bias=between.bias)))
        for _ in range(depth - 1)
    )
    return [nn.Linear(in_features, stream, bias=between.bias), *blocks, *between.layers(hidden)]


MLP_ENTRY = NetworkEntry(
    name="mlp",
    build=MLP,
    kinds=frozenset({"image", "table"}),
    space={
        "hidden": Categorical((128, 256), reason="wide enough for most tables; few, as each is a structure"),
        "depth": Categorical((2, 3), reason="more plain layers seldom help; few, as each is a structure"),
        "activation": Constant("relu", reason="the cheapest, seldom behind; each other one is a structure"),
        "norm": Constant("none", reason="inputs are standardised and the network is shallow"),
        "drop_prob": Constant(0.0, reason="weight decay is searched, and few epochs overfit little"),
        "residual": Constant(False, reason="two or three layers train without; from ten on it is needed"),
    },
    reference="Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021, section 3.1",
    default=True,
    widths=(32, 64, 128),
    width_setting="hidden",
    stacks="members of equal hidden, depth, activation, norm and form are one program; drop_prob may differ above 0",
)
