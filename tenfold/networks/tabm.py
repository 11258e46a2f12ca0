"""TabM: an ensemble of MLPs in one, which share their matrices, for tables.

Taken over: the backbone of linear, ReLU, dropout whose linear layers are those of BatchEnsemble; the start of the
adapters (random signs in the first, ones in all others); a head of each prediction's own; a loss of each prediction's
own, and the mean of probabilities in the end (`forward_each` and `tenfold.tasks`). Not taken over: embeddings of
numeric columns by pieces (the paper's TabM with a dagger), one-hot codes (categories are embedded as in `mlp`), and
the paper's sizes: 32 predictions and wider layers there, 16 of 128 units here.

B batch, D features, E predictions of a sample, L categorical columns, K outputs
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_rate, dropout
from tenfold.nn import BatchEnsembleLinear, CategoryEmbedding
from tenfold.tuning import Categorical, Constant


class TabM(nn.Module):
    """E predictions of each sample by one network, each trained on a loss of its own.

    Args:
        spec: the input; images are flattened, categorical columns embedded (`CategoryEmbedding`).
        num_outputs: K, at least 1.
        num_predictions: E, at least 1.
        hidden: width of each hidden layer, at least 1.
        depth: number of hidden layers, at least 1.
        drop_prob: share of the hidden units that is dropped in training, in [0, 1), of each prediction for itself.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> network = TabM(InputSpec(kind="table", shape=(5,)), num_outputs=3, num_predictions=16)
        >>> network.forward_each(torch.zeros(8, 5)).shape, network(torch.zeros(8, 5)).shape
        (torch.Size([8, 16, 3]), torch.Size([8, 3]))

    References:
        Gorishniy, Kotelnikov and Babenko, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
            Ensembling", ICLR 2025, section 3.3 and figure 1.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        num_predictions: int = 16,
        hidden: int = 128,
        depth: int = 2,
        drop_prob: float = 0.1,
    ) -> None:
        super().__init__()
        check_at_least("tabm", 1, num_predictions=num_predictions, hidden=hidden, depth=depth)
        check_rate("tabm", drop_prob=drop_prob)
        self.flatten = nn.Flatten()
        self.embedding = CategoryEmbedding(spec.cardinalities) if spec.cardinalities else None
        width = spec.num_features + (self.embedding.out_features if self.embedding is not None else 0)
        layers: list[nn.Module] = []
        for number in range(depth):
            layers += [
                BatchEnsembleLinear(width, hidden, num_predictions, random_signs=number == 0),
                nn.ReLU(),
                *dropout(drop_prob),
            ]
            width = hidden
        self.hidden = nn.Sequential(*layers)
        bound = 1 / math.sqrt(width)
        self.head_weight = nn.Parameter(torch.empty(num_predictions, width, num_outputs).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.empty(num_predictions, num_outputs).uniform_(-bound, bound))

    def forward_each(self, x: Tensor, codes_BL: Tensor | None = None) -> Tensor:
        """Each prediction, shape (B, E, K), of x float, shape (B, ...), and codes int64, shape (B, L)."""
        features_BD = self.flatten(x)
        if self.embedding is not None and codes_BL is not None:
            features_BD = torch.cat([features_BD, self.embedding(codes_BL)], dim=1)
        hidden_BED = self.hidden(features_BD[:, None])
        return (hidden_BED[:, :, None] @ self.head_weight).squeeze(2) + self.head_bias

    def forward(self, x: Tensor, codes_BL: Tensor | None = None) -> Tensor:
        """The mean of the predictions, shape (B, K); tasks average probabilities instead, by `forward_each`."""
        return self.forward_each(x, codes_BL).mean(dim=1)


TABM = NetworkEntry(
    name="tabm",
    build=TabM,
    kinds=frozenset({"image", "table"}),
    space={
        "num_predictions": Constant(16, reason="half the paper's 32, at half the time and nearly all of the gain"),
        "hidden": Categorical((128, 256), reason="as of the mlp; few, as each is a structure"),
        "depth": Constant(2, reason="as of the mlp; each other one is a structure"),
        "drop_prob": Constant(0.1, reason="predictions that share weights profit from a little noise"),
    },
    reference="Gorishniy, Kotelnikov and Babenko, TabM, ICLR 2025",
    small={"hidden": 8, "num_predictions": 4},
    widths=(32, 64, 128),
    width_setting="hidden",
    stacks="members of equal num_predictions, hidden and depth are one program; drop_prob may differ above 0",
)
