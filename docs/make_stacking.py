"""Writes `stacking.md`, what stacks how, by running the contracts and by listening to what the stack says.

Run it as `make docs` after a change; `tests/test_docs_stacking.py` fails while the page is behind.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

import tenfold
from tenfold.networks import NETWORKS
from tenfold.optim import OPTIMIZERS, SCHEDULES
from tenfold.stacking import SerialFallbackWarning
from tenfold.testing import (
    check_alone_or_together,
    check_leaving_is_free,
    check_permutation,
    check_plain_out,
    check_saving,
    check_strangers,
    network_job,
)

PAGE = Path(__file__).with_name("stacking.md")

HEAD = """\
# What stacks, and how

<!-- Made by docs/make_stacking.py (`make docs`) from the code; a change here would be written over. -->

`tenfold.stack` takes any `nn.Module`. Members run as one program (**stacked**) where `torch.vmap` and the rules can
follow the model, and one after another (**serial**) where they cannot, with one sentence that names the line. The
promises hold in both forms. The tables below come from running the contracts of `tenfold.testing`.

## The registered networks

Three members under AdamW, a rate a member. Large networks are narrowed by their setting `width`. The suite in
`tests/stacking` runs the small networks pairwise with all registered optimisers and schedules, and in its slow part
the large ones. The other image networks (`tenfold networks`) stack as well: `tests/networks/test_image_networks.py`
trains each of them stacked and alone.

- optimisers: {optimizers};
- schedules: {schedules}.

| network | form | alone or together | in another order | strangers | leaving | saved and loaded | plain out |
|---|---|---|---|---|---|---|---|
"""

KINDS_HEAD = """
## Kinds of modules

| module | form | why not stacked |
|---|---|---|
"""

REFUSED_HEAD = """
## Refused at the door

What would go wrong silently is an error before the first step, at the door or in the first call.

| what | the sentence |
|---|---|
"""

WARNED_HEAD = """
## Warned

| what | the sentence |
|---|---|
"""

TAIL = """
## What to expect of a fall-back

The first call of each function decides: if it cannot run as one program, it runs for one member after another on
slices of the same stacked tensors, under the same random streams. Optimisers, `keep` and checkpoints do not notice.
`Stack.form` and `Stack.fallback` tell; `form="stacked"` makes the fall-back an error.

In both forms:

- What forward leaves in Python attributes, lists and dicts is done once a call and not once a member. A cached tensor
  that is the same for all members stays, in the model and in its class; what is a member's own is forgotten after the
  call, with a warning. Not seen are global variables and what the function passed to `each` has closed over.
- A member whose loss does not use a parameter (another branch, another expert) lets it rest, as `torch.optim` does
  where `.grad` is None.
- Python's and NumPy's random numbers are seeded for each member. Whether a function draws from them is looked at in
  its first call.
- A member of NaN stops nobody: `binary_cross_entropy` gives NaN in place of its error, and `torch.distributions` do
  not check their arguments unless `validate_args=True` says so.

## Checking a model of your own

```python
import torch
from torch.nn.functional import mse_loss
from tenfold.testing import check_alone_or_together, check_leaving_is_free, check_plain_out, check_strangers

batches = [(torch.randn(8, 4), torch.randn(8, 1))]
job = {
    "make_model": lambda: torch.nn.Linear(4, 1),
    "batches": batches,
    "loss": lambda model, x, y: mse_loss(model(x), y),
}
for check in (check_alone_or_together, check_strangers, check_leaving_is_free, check_plain_out):
    check(**job)
```

Each raises an `AssertionError` with a sentence where the promise is broken.
"""

CONTRACTS: list[tuple[Callable[..., None], dict[str, Any]]] = [
    (check_alone_or_together, {"num_steps": 3}),
    (check_permutation, {"order": (2, 0, 1), "num_steps": 1}),
    (check_strangers, {"poisons": ["NaN parameters", "an infinite loss", "a huge learning rate"], "num_steps": 2}),
    (check_leaving_is_free, {"kept": [(2, 0)], "num_steps": 1}),
    (check_saving, {"num_members": 3, "kept": (2, 0), "num_steps": 1}),
    (check_plain_out, {"num_steps": 1}),
]


class Gated(nn.Module):
    """Control flow on data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Turns its result round where it is negative."""
        y = self.layer(x)
        return y if y.sum() > 0 else -y


class Selecting(nn.Module):
    """A result whose shape depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Takes the sum of the positive results."""
        y = self.layer(x)
        return y - y[y > 0].sum()


class Filling(nn.Module):
    """A new tensor filled from a member's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Adds to zeros."""
        y = torch.zeros(x.shape)
        y += self.layer(x)
        return y


class Called(nn.Module):
    """A layer that is called by a function of its own, and whose output is its first part."""

    def __init__(
        self, layer: nn.Module, call: Callable[[nn.Module, Tensor], Any] = lambda layer, x: layer(x)
    ) -> None:
        super().__init__()
        self.layer = layer
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        """The first part of what the call gives."""
        out = self.call(self.layer, x)
        return out[0] if isinstance(out, tuple) else out


def _codes(layer: nn.Module, x: Tensor) -> Any:
    return layer((x > 0).long())


def _attention() -> nn.Module:
    layer = nn.MultiheadAttention(4, 2, dropout=0.1, batch_first=True)
    return Called(layer, lambda layer, x: layer(x, x, x, need_weights=False))


ROWS, TOKENS, PICTURES = torch.ones(6, 4), torch.ones(6, 3, 4), torch.ones(6, 2, 8, 8)


def _hooking(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x)
    y.register_hook(lambda gradient: -gradient)
    return y


def _drawing(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x) if random.random() < 0.5 else x


KINDS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "Linear, GELU, PReLU": (lambda: nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.PReLU()), ROWS),
    "Conv2d, ConvTranspose2d": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(4, 2, 3)), PICTURES),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), ROWS),
    "BatchNorm1d with `momentum=None`": (lambda: nn.BatchNorm1d(4, momentum=None), ROWS),
    "LayerNorm, GroupNorm, RMSNorm": (
        lambda: nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4)),
        ROWS,
    ),
    "InstanceNorm2d, tracked": (lambda: nn.InstanceNorm2d(2, affine=True, track_running_stats=True), PICTURES),
    "Dropout, Dropout2d": (lambda: nn.Sequential(nn.Dropout(0.2), nn.Dropout2d(0.2)), PICTURES),
    "AlphaDropout": (lambda: nn.AlphaDropout(0.2), ROWS),
    "RReLU": (nn.RReLU, ROWS),
    "MaxPool2d, AvgPool2d, AdaptiveAvgPool2d": (
        lambda: nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)),
        PICTURES,
    ),
    "Upsample, bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), PICTURES),
    "Embedding": (lambda: Called(nn.Embedding(5, 4), _codes), ROWS),
    "EmbeddingBag": (lambda: Called(nn.EmbeddingBag(5, 4), _codes), ROWS),
    "RNN": (lambda: Called(nn.RNN(4, 4, batch_first=True)), TOKENS),
    "LSTM, two layers, both directions, dropout": (
        lambda: Called(nn.LSTM(4, 4, 2, batch_first=True, dropout=0.1, bidirectional=True)),
        TOKENS,
    ),
    "GRU": (lambda: Called(nn.GRU(4, 4, batch_first=True)), TOKENS),
    "MultiheadAttention with dropout": (_attention, TOKENS),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), TOKENS),
    "weight norm (parametrized)": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), ROWS),
    "spectral norm (parametrized)": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), ROWS),
    "control flow on data": (Gated, ROWS),
    "selection by a mask": (Selecting, ROWS),
    "a new tensor changed in place": (Filling, ROWS),
    "a hook on a tensor's gradient": (lambda: Called(nn.Linear(4, 4), _hooking), ROWS),
    "Python's or NumPy's random numbers": (lambda: Called(nn.Linear(4, 4), _drawing), ROWS),
}


def _hiding() -> nn.Module:
    model = nn.Linear(4, 4)
    model.extra = [nn.Linear(4, 4)]  # type: ignore[assignment]
    return model


def _with_hook() -> nn.Module:
    model = nn.Linear(4, 4)
    model.weight.register_hook(lambda gradient: gradient)
    return model


def _in_forward(change: Callable[[nn.Module], None]) -> Callable[[], list[nn.Module]]:
    """What the first call says; it is as good as the door."""

    def run() -> list[nn.Module]:
        stack = tenfold.stack([nn.Linear(4, 4), nn.Linear(4, 4)])
        stack.each(lambda model, x: change(model) or model(x), ROWS)
        return []

    return run


REFUSED: dict[str, Callable[[], list[nn.Module]]] = {
    "layers in a Python list or dict": lambda: [_hiding(), _hiding()],
    "members that differ in an attribute": lambda: [nn.Softplus(1.0), nn.Softplus(2.0)],
    "members that differ in shape": lambda: [nn.Linear(4, 4), nn.Linear(4, 5)],
    "members that differ in dtype": lambda: [nn.Linear(4, 4), nn.Linear(4, 4).double()],
    "members in different modes": lambda: [nn.Linear(4, 4), nn.Linear(4, 4).eval()],
    "lazy layers without a shape": lambda: [nn.LazyLinear(4)],
    "a hook on a parameter's gradient": lambda: [_with_hook()],
    "the old weight norm": lambda: [nn.utils.weight_norm(nn.Linear(4, 4))],
    "the old spectral norm": lambda: [nn.utils.spectral_norm(nn.Linear(4, 4))],
    "pruned layers": lambda: [prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)],
    "scripted layers": lambda: [nn.Sequential(torch.jit.script(nn.Linear(4, 4)))],
    "a parameter that forward makes": _in_forward(lambda model: setattr(model, "w", nn.Parameter(torch.ones(4)))),
    "a parameter that forward sets anew": _in_forward(
        lambda model: setattr(model, "weight", nn.Parameter(torch.ones(4, 4)))
    ),
}
WARNED: dict[str, tuple[nn.Module, Callable[..., Any], bool]] = {
    "softmax before cross-entropy": (
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)),
        lambda model, x: F.cross_entropy(model(x), torch.zeros(6, dtype=torch.long)),
        True,
    ),
    "sigmoid with squared error": (
        nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()),
        lambda model, x: F.mse_loss(model(x), torch.zeros(6, 1)),
        True,
    ),
    "functional dropout that stays on in `eval()`": (
        nn.Linear(4, 1),
        lambda model, x: F.dropout(model(x), 0.5).sum(),
        False,
    ),
    "a member's own value left in a plain attribute": (
        nn.Linear(4, 1),
        lambda model, x: setattr(model, "last", model(x)) or model.last.sum(),
        True,
    ),
}


def render(left_out: tuple[str, ...] = ()) -> str:
    """The whole page, or without the rows of some networks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shown = [name for name in NETWORKS if NETWORKS[name].default or not NETWORKS[name].heavy]
        networks = "".join(_network(name) for name in shown if name not in left_out)
        kinds = "".join(_kind(name, make, batch) for name, (make, batch) in KINDS.items())
        refused = "".join(f"| {name} | {_refusal(make)} |\n" for name, make in REFUSED.items())
        warned = "".join(f"| {name} | {_warning(*case)} |\n" for name, case in WARNED.items())
    finally:
        torch.set_num_threads(threads)
    head = HEAD.format(optimizers=", ".join(OPTIMIZERS), schedules=", ".join(SCHEDULES))
    return head + networks + KINDS_HEAD + kinds + REFUSED_HEAD + refused + WARNED_HEAD + warned + TAIL


def _network(name: str) -> str:
    job = network_job(name)
    form, why = _form_of(job["make_model"], job["loss"], job["batches"][0])
    cells = [_outcome(check, {**job, **options}) for check, options in CONTRACTS]
    return f"| `{name}` | {form}{f': {why}' if why else ''} | {' | '.join(cells)} |\n"


def _outcome(check: Callable[..., None], arguments: dict[str, Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SerialFallbackWarning)
        try:
            check(**arguments)
        except AssertionError as error:
            return f"**no**: {error}"
    return "holds"


def _kind(name: str, make: Callable[[], nn.Module], batch: Tensor) -> str:
    form, why = _form_of(make, lambda model, x: model(x).square().mean(), (batch,))
    return f"| {name} | {form} | {why} |\n"


def _form_of(make: Callable[[], nn.Module], loss: Callable[..., Tensor], batch: tuple[Any, ...]) -> tuple[str, str]:
    """The form, and the reason inside the sentence of a fall-back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = tenfold.stack([make() for _ in range(3)])
        stack.each(loss, *batch)
    reason = re.search(r"as one program: (.*?)\.?$", stack.fallback or "")
    return stack.form, _cell(reason[1]) if reason else ""


def _refusal(make: Callable[[], list[nn.Module]]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tenfold.stack(make())
        except tenfold.StackError as error:
            return _cell(str(error))
    raise AssertionError("nothing was refused; take the row out")


def _warning(model: nn.Module, function: Callable[..., Any], training: bool) -> str:
    stack = tenfold.stack([model, model]).train(training)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stack.each(function, ROWS)
    return _cell(" ".join(str(warning.message) for warning in caught))


def _cell(sentence: str) -> str:
    """A sentence for a table, without the numbers of lines, which move."""
    return re.sub(r"\.py:\d+", ".py", sentence).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
