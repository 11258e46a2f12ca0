"""Softmax regression and linear regression: the floor that every network has to beat.

B batch, D features, L categorical columns, K outputs
"""

from __future__ import annotations

from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry
from tenfold.nn import CategoryEmbedding


class Linear(nn.Module):
    """Outputs = bias + weight x + one row of outputs for each category.

    What it is called depends on the loss: with cross-entropy it is softmax regression, of two classes logistic
    regression, with squared errors linear regression. (Two outputs are one more than logistic regression needs; only
    their difference counts, and it is the log-odds.)

    The rows of the categories are what a one-hot encoding would be multiplied by; they start at zero, which
    is as good as any start for a convex loss.

    Args:
        spec: the input.
        num_outputs: K.

    Example:
        >>> import torch
        >>> network = Linear(InputSpec(kind="table", shape=(3,), cardinalities=(4,)), num_outputs=2)
        >>> network(torch.zeros(5, 3), torch.zeros(5, 1, dtype=torch.int64)).shape
        torch.Size([5, 2])
    """

    def __init__(self, spec: InputSpec, num_outputs: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.numbers = nn.Linear(spec.num_features, num_outputs)
        self.categories: CategoryEmbedding | None = None
        if spec.cardinalities:
            self.categories = CategoryEmbedding(spec.cardinalities, dim=lambda count: num_outputs)
            for table in self.categories.parameters():
                nn.init.zeros_(table)

    def forward(self, x: Tensor, codes_BL: Tensor | None = None) -> Tensor:
        """Outputs float, shape (B, K), of x float, shape (B, ...), and codes int64, shape (B, L)."""
        outputs_BK = self.numbers(self.flatten(x))
        if self.categories is None or codes_BL is None:
            return outputs_BK
        rows = self.categories(codes_BL)
        return outputs_BK + rows.unflatten(1, (-1, self.numbers.out_features)).sum(dim=1)


LINEAR = NetworkEntry(
    name="linear",
    build=Linear,
    kinds=frozenset({"image", "table"}),
    aliases=("logistic_regression", "softmax_regression", "linear_regression"),
    reference="Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009, chapters 3 and 4",
    default=True,
    stacks="all members are one program",
)
