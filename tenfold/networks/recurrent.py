"""Recurrent networks: plain, LSTM and GRU, for sequences, the rows of a picture and the windows of a series.

torch's own layers. Measured in a stack: a recurrent layer of many members runs a step of all of them at a time, and a
large one the members in turn; see docs/stacking.md.

B batch, C channels, H W, T steps, D features of a step, L categorical columns, K outputs
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, check_at_least, check_choice, check_rate, dropout
from tenfold.nn import CategoryEmbedding
from tenfold.tuning import Categorical, Constant

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """Reads a sample step by step, and answers from the last state.

    A picture is read row by row: H steps of C * W numbers. Of a table the numeric columns are the steps, a number
    each, in their order: the window of a series, whose columns are the values of so many times. Categorical columns
    are embedded and joined to the last state.

    Args:
        cell: "rnn" (tanh), "lstm" or "gru".
        spec: the input.
        num_outputs: K, at least 1.
        hidden: size of a state, at least 1.
        depth: recurrent layers, each over the states of the one below, at least 1.
        bidirectional: whether a second layer reads backwards, and the last states of both are joined.
        drop_prob: share of the states between two layers and before the output that is dropped in training, in
            [0, 1).

    Raises:
        ValueError: there is no such cell, hidden or depth is not a whole number of at least 1, drop_prob not in
            [0, 1), or bidirectional not true or false.

    Example:
        >>> network = Recurrent("gru", InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10, hidden=64)
        >>> network.layers.input_size, network(torch.zeros(3, 1, 28, 28)).shape
        (28, torch.Size([3, 10]))

    References:
        Elman, "Finding Structure in Time", Cognitive Science 14, 1990.
        Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9, 1997; with the forget gate of
            Gers, Schmidhuber and Cummins, 2000.
        Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014, section 2.3 (GRU).
    """

    def __init__(
        self,
        cell: str,
        spec: InputSpec,
        num_outputs: int,
        *,
        hidden: int = 128,
        depth: int = 1,
        bidirectional: bool = False,
        drop_prob: float = 0.0,
    ) -> None:
        super().__init__()
        in_features = spec.shape[0] * spec.shape[2] if spec.kind == "image" else 1
        self.layers = _layers(cell, in_features, hidden, depth, bidirectional, drop_prob)
        self.embedding = CategoryEmbedding(spec.cardinalities) if spec.cardinalities else None
        joined = hidden * (1 + bidirectional) + (self.embedding.out_features if self.embedding is not None else 0)
        self.output = nn.Sequential(*dropout(drop_prob), nn.Linear(joined, num_outputs))

    def forward(self, x: Tensor, codes_BL: Tensor | None = None) -> Tensor:
        """Outputs float, shape (B, K), of x float, shape (B, C, H, W) or (B, T), and codes int64, shape (B, L)."""
        steps_BTD = x.movedim(1, 2).flatten(2) if x.dim() == 4 else x[..., None]
        states = self.layers(steps_BTD)[1]
        last = states[0] if isinstance(self.layers, nn.LSTM) else states
        ways = 1 + self.layers.bidirectional
        features_BD = last[-ways:].movedim(0, 1).flatten(1)
        if self.embedding is not None and codes_BL is not None:
            features_BD = torch.cat([features_BD, self.embedding(codes_BL)], dim=1)
        return self.output(features_BD)


class RecurrentForecaster(nn.Module):
    """Sequence in, sequence out: at each step an output, from all steps up to it.

    Args:
        cell: "rnn" (tanh), "lstm" or "gru".
        in_features: D, of a step.
        num_outputs: K, of a step, at least 1.
        hidden: size of a state, at least 1.
        depth: recurrent layers, at least 1.
        drop_prob: share of the states between two layers and before the output that is dropped in training, in
            [0, 1).

    Raises:
        ValueError: there is no such cell, or a number is out of its range.

    Example:
        >>> RecurrentForecaster("rnn", in_features=1, num_outputs=2)(torch.zeros(5, 30, 1)).shape
        torch.Size([5, 30, 2])
    """

    def __init__(
        self,
        cell: str,
        in_features: int,
        num_outputs: int,
        *,
        hidden: int = 32,
        depth: int = 1,
        drop_prob: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = _layers(cell, in_features, hidden, depth, False, drop_prob)
        self.output = nn.Sequential(*dropout(drop_prob), nn.Linear(hidden, num_outputs))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Outputs float, shape (B, T, K), of x float, shape (B, T, D)."""
        return self.output(self.layers(x_BTD)[0])


def _layers(
    cell: str, in_features: int, hidden: int, depth: int, bidirectional: bool, drop_prob: float
) -> nn.RNNBase:
    check_choice("recurrent", tuple(CELLS), cell=cell)
    check_choice(cell, (True, False), bidirectional=bidirectional)
    check_at_least(cell, 1, hidden=hidden, depth=depth)
    check_rate(cell, drop_prob=drop_prob)
    return CELLS[cell](
        in_features,
        hidden,
        depth,
        batch_first=True,
        bidirectional=bidirectional,
        dropout=drop_prob if depth > 1 else 0.0,
    )


def _entry(cell: str, reference: str) -> NetworkEntry:
    return NetworkEntry(
        name=cell,
        build=partial(Recurrent, cell),
        kinds=frozenset({"image", "table"}),
        space={
            "hidden": Categorical((64, 128), reason="a state holds what was read; few, as each is a structure"),
            "depth": Constant(1, reason="a second layer costs as much again and seldom pays on short sequences"),
            "bidirectional": Constant(False, reason="twice the work; the last state has seen all steps as it is"),
            "drop_prob": Constant(0.0, reason="weight decay is searched, and few epochs overfit little"),
        },
        reference=reference,
        needs_numbers=True,
        small={"hidden": 8},
        widths=(32, 64, 128),
        width_setting="hidden",
        stacks="members of equal hidden, depth and direction are one program, all of them a step at a time",
    )


RECURRENT = (
    _entry("rnn", "Elman, Finding Structure in Time, Cognitive Science 14, 1990"),
    _entry("lstm", "Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9, 1997"),
    _entry("gru", "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, EMNLP 2014, section 2.3"),
)
