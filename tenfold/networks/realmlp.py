"""A variant of RealMLP, the MLP for tables whose defaults were tuned on hundreds of data sets.

Taken over from RealMLP-TD: PBLD embeddings of numbers, a scaling layer in front, the NTK parametrisation, parametric
activations (SELU for classes, Mish for one number), three layers of 256, dropout 0.15, soft clipping of inputs, and
the factors on the rates of scales (6), biases and activations (0.1). The factors are in the network: a parameter is
kept divided by its factor and multiplied where it is used, which under Adam is the same as a rate of its own. All
rates are divided by 16 besides, so that the paper's 0.04 is 0.0025 here, the middle of tenfold's range.

Not taken over: biases and weights that start from data ("he+5", "std": here all start standard normal), one-hot codes
of small categories (all are embedded), robust scaling (inputs are standardised), schedules of the dropout and of the
decay, the cosine in log4 (any schedule of tenfold's instead), a factor for the embeddings (0.1), and label smoothing
of 0.1 (`label_smoothing` is a value of the task).

B batch, D features, L categorical columns, K outputs
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_choice, check_rate, dropout
from tenfold.nn import ACTIVATIONS, CategoryEmbedding, PeriodicEmbedding, activation
from tenfold.tuning import Categorical, Constant

RATE = 16.0
SCALE_RATE = 6.0
BIAS_RATE = 0.1
ACTIVATION_RATE = 0.1


class NTKLinear(nn.Module):
    """W x / sqrt(d) + b, with W and b standard normal at the start: rates then suit every width.

    Args:
        in_features: d, at least 1.
        out_features: at least 1.

    Example:
        >>> NTKLinear(3, 2)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])

    References:
        Jacot, Gabriel and Hongler, "Neural Tangent Kernel", NeurIPS 2018, section 2.1.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / RATE)
        self.bias = nn.Parameter(torch.randn(out_features) / (RATE * BIAS_RATE))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, d) to (B, out_features)."""
        factor = RATE / math.sqrt(self.weight.shape[1])
        return F.linear(x, self.weight * factor, self.bias * (RATE * BIAS_RATE))


class Scaling(nn.Module):
    """A learned factor a feature, 1 at the start: soft selection of features, at a high rate.

    Example:
        >>> Scaling(2)(torch.tensor([[3.0, 5.0]])).tolist()
        [[3.0, 5.0]]
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((num_features,), 1 / (RATE * SCALE_RATE)))

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of x, (B, D)."""
        return x * (self.scale * (RATE * SCALE_RATE))


class ParametricActivation(nn.Module):
    """x + a (f(x) - x), with a learned share a of each unit's own, 1 at the start.

    Args:
        name: of f, a name in `tenfold.nn.ACTIVATIONS`.
        num_features: units.

    Example:
        >>> ParametricActivation("relu", 3)(torch.tensor([[-1.0, 0.0, 2.0]])).relu()
        tensor([[0., 0., 2.]], grad_fn=<ReluBackward0>)
    """

    def __init__(self, name: str, num_features: int) -> None:
        super().__init__()
        self.function = activation(name)
        self.share = nn.Parameter(torch.full((num_features,), 1 / (RATE * ACTIVATION_RATE)))

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of x, (B, D)."""
        return x + self.share * (RATE * ACTIVATION_RATE) * (self.function(x) - x)


class RealMLP(nn.Module):
    """Embedded columns, a scaling layer, and `depth` hidden layers in the NTK parametrisation.

    Args:
        spec: the input; images are flattened.
        num_outputs: K, at least 1.
        hidden: width of each hidden layer, at least 1.
        depth: number of hidden layers, at least 1.
        drop_prob: share of the hidden units that is dropped in training, in [0, 1).
        activation: "auto" for SELU, and Mish where there is one output; or a name in `tenfold.nn.ACTIVATIONS` that
            gives as many features as it takes.

    Raises:
        ValueError: a number is out of its range, or there is no such activation.

    Example:
        >>> network = RealMLP(InputSpec(kind="table", shape=(5,), cardinalities=(3,)), num_outputs=2)
        >>> network(torch.zeros(4, 5), torch.zeros(4, 1, dtype=torch.int64)).shape
        torch.Size([4, 2])

    References:
        Holzmüller, Grinsztajn and Steinwart, "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular
            Data", NeurIPS 2024, section 3 and figure 1.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        hidden: int = 256,
        depth: int = 3,
        drop_prob: float = 0.15,
        activation: str = "auto",
    ) -> None:
        super().__init__()
        check_at_least("realmlp", 1, hidden=hidden, depth=depth)
        check_rate("realmlp", drop_prob=drop_prob)
        check_choice("realmlp", ("auto", *(n for n in ACTIVATIONS if n != "maxout")), activation=activation)
        if activation == "auto":
            activation = "mish" if num_outputs == 1 else "selu"
        self.flatten = nn.Flatten()
        self.numbers = PeriodicEmbedding(spec.num_features) if spec.num_features else None
        self.categories = CategoryEmbedding(spec.cardinalities) if spec.cardinalities else None
        width = sum(part.out_features for part in (self.numbers, self.categories) if part is not None)
        layers: list[nn.Module] = [Scaling(width)]
        for _ in range(depth):
            layers += [NTKLinear(width, hidden), ParametricActivation(activation, hidden), *dropout(drop_prob)]
            width = hidden
        self.hidden = nn.Sequential(*layers)
        self.output = NTKLinear(width, num_outputs)

    def forward(self, x: Tensor, codes_BL: Tensor | None = None) -> Tensor:
        """Outputs float, shape (B, K), of x float, shape (B, ...), and codes int64, shape (B, L)."""
        parts: list[Tensor] = []
        if self.numbers is not None:
            x_BD = self.flatten(x)
            parts.append(self.numbers(x_BD / (1 + (x_BD / 3).square()).sqrt()))
        if self.categories is not None and codes_BL is not None:
            parts.append(self.categories(codes_BL))
        return self.output(self.hidden(torch.cat(parts, dim=1)))


REALMLP = NetworkEntry(
    name="realmlp",
    build=RealMLP,
    kinds=frozenset({"table"}),
    space={
        "hidden": Categorical((128, 256), reason="256 in the paper; few, as each is a structure"),
        "depth": Constant(3, reason="the paper's"),
        "drop_prob": Constant(0.15, reason="the paper's"),
        "activation": Constant("auto", reason="the paper's: SELU for classes, Mish for a number"),
    },
    reference="Holzmüller, Grinsztajn and Steinwart, Better by Default, NeurIPS 2024 (a variant: see its file)",
    small={"hidden": 8},
    widths=(64, 128, 256),
    width_setting="hidden",
    stacks="members of equal hidden, depth and activation are one program; drop_prob may differ above 0",
)
