"""Writes `spaces.md`, the default search space with the reason for each range, from the code that holds both.

Run it as `make docs` after a change; `tests/test_docs.py` fails while the page is behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS
from tenfold.optim import OPTIMIZERS, SCHEDULES
from tenfold.study.budget import default_batch_size, default_epochs, default_trials, halving_rungs
from tenfold.study.trials import default_space
from tenfold.train.recipe import PRECISIONS
from tenfold.tuning import Space, optimizer_space
from tenfold.tuning.defaults import OPTIMIZER_PARAMETERS, SCHEDULE_PARAMETERS

PAGE = Path(__file__).with_name("spaces.md")

HEAD = """\
# The default search space

<!-- Made by docs/make_spaces.py (`make docs`) from the code; a change here would be written over. -->

What `tenfold fit` searches when it is told nothing. A single value is a parameter that is not searched; it is written
down all the same, so that its reason can be doubted. Ranges are for small and middle-sized networks trained from
scratch for tens of epochs. The report of a run shows the space that it searched.

Structural choices (a width, a depth, an activation) are few, because members of one structure train as one program;
rates and decays are free, because every member has its own.

## Training

Every network is trained with these.

"""

SGD = """
AdamW is the one optimiser that is searched by default. `space=optimizer_space(("adamw", "sgd"), ("cosine", "step"))`
in Python (from `tenfold.tuning`) searches those that it names. Each optimiser has its own ranges:

"""

NETWORK_HEAD = """
## Networks

Parameters that a network has besides; `tenfold fit --network` chooses among them. By default a table gets `mlp`,
pictures up to 40 pixels `mlp` and `lenet`, larger pictures `resnet18`, pictures beside masks `unet`.
"""

BUDGET_HEAD = """
## How much

| rows to train on | batch size | epochs at most | of photographs |
|---:|---:|---:|---:|
"""

BUDGET = """
Epochs make about 4,000 steps, between 5 and 100 (20 for photographs, pictures of more than 40 pixels a side, and 40
where they have masks, in batches of 8). There are {trials} trials, {photo_trials} of photographs. With `--time` both
follow from the measured speed instead.

Halving lets one trial in three go on from each rung, and nobody leaves in the first tenth. {trials} trials of 100
epochs: {rungs}.
"""

OWN = """
## Your own

A dict is laid over the default space, name by name; a plain value fixes a parameter. Names that are neither
training's nor the task's go to the network.

```python
import tenfold

space = {
    "lr": tenfold.Float(1e-4, 1e-1, log=True),
    "hidden": tenfold.Categorical([64, 512]),
    "label_smoothing": tenfold.Float(0.0, 0.2),
    "clip_norm": 1.0,
}
run = tenfold.fit("wine", space=space, trials=6, epochs=5)
```

A `Space` may also have constraints, which every configuration satisfies: expressions over the names, or functions of
the configuration.

```
Space({"hidden": Int(64, 1024, log=True), "depth": Int(1, 8)}, constraints=["hidden * depth <= 2048"])
```

`Space.from_toml(path)` reads the same from a file: a table a parameter, a list for a choice, a plain value for a
constant. Whole numbers as bounds make whole numbers.

```toml
constraints = ["hidden * depth <= 2048"]
optimizer = ["adamw", "sgd"]
batch_size = 64
hidden = { low = 64, high = 1024, log = true }
depth = { low = 1, high = 8 }

[lr]
low = 1e-4
high = 1e-1
log = true
reason = "covers both optimisers"

[momentum]
low = 0.8
high = 0.99
when = { optimizer = "sgd" }
```

A name with other values elsewhere is an array of tables (`[[depth]]`), each with a `when`; `type` says "float",
"int", "categorical" or "constant" outright; `step` is as in Python. Which sampler proposes configurations is told in
[samplers.md](samplers.md).

Training's names are those below; the task's `label_smoothing` (classification). A function of an Optuna trial that
returns a dict works as well. Numbers may differ between members that train as one program; the other choices cut the
members into programs of their own, and so do `batch_size` and `accumulate`.

| name | what |
|---|---|
| `optimizer` | {optimizers} |
| `lr`, `lr_groups` | the rate, and factors of it by patterns of parameter names: `{{"backbone.*": 0.1}}` |
| `weight_decay`, `l1`, `decay_biases` | decay, the L1 penalty, and whether they reach biases and norms |
| `momentum`, `nesterov`, `beta1`, `beta2`, `eps` | the optimiser's own |
| `schedule`, `warmup_fraction` | {schedules} |
| `lr_gamma`, `lr_milestones`, `plateau_patience` | what step, multistep and plateau fall by, and when |
| `freeze` | patterns of the names of parameters that do not move |
| `clip_norm`, `clip_value` | bounds of the gradient, of each member alone |
| `batch_size`, `accumulate` | samples a step, and the pieces that a step is taken in |
| `precision` | {precisions} |
| `ema_decay` | an average of the weights, which is scored and kept |
| `patience` | epochs without improvement after which a trial stops |
"""


def render() -> str:
    """The whole page."""
    networks = "".join(_network(name) for name in NETWORKS if NETWORKS[name].space) + _others()
    searched = _table(optimizer_space() | _batch_size())
    every = optimizer_space(tuple(OPTIMIZER_PARAMETERS), tuple(SCHEDULE_PARAMETERS)).to_json()
    return (
        HEAD
        + searched
        + SGD
        + _rows([row for row in every if row["when"]])
        + NETWORK_HEAD
        + networks
        + BUDGET_HEAD
        + _budget()
    )


def _batch_size() -> Space:
    """The batch size's row; its value depends on the data and is told in its own table."""
    rows = default_space({"mlp": "mlp"}, batch_size=1).to_json()
    row = next(row for row in rows if row["name"] == "batch_size")
    return Space.from_json([{**row, "choices": ["by the number of rows, see below"]}])


def _network(name: str) -> str:
    entry = NETWORKS[name]
    head = (
        f"\n### {name}\n\n{entry.reference}. Takes: {', '.join(sorted(entry.kinds))}. In a stack: {entry.stacks}.\n"
    )
    return f"{head}\n{_table(Space(entry.space))}"


def _others() -> str:
    names = ", ".join(f"`{name}`" for name in NETWORKS if not NETWORKS[name].space)
    return f"\n### The others\n\nNothing is searched by default of {names}; `tenfold networks` tells of them.\n"


def _table(space: Space) -> str:
    return _rows(space.to_json())


def _rows(rows: list[dict[str, Any]]) -> str:
    lines = ["| parameter | values | reason |", "|---|---|---|"]
    for row in rows:
        when = "".join(f" ({' or '.join(map(str, values))})" for values in (row["when"] or {}).values())
        lines.append(f"| `{row['name']}`{when} | {_values(row)} | {row['reason']} |")
    return "\n".join(lines) + "\n"


def _values(row: dict[str, Any]) -> str:
    if row["choices"] is not None:
        return ", ".join(map(str, row["choices"]))
    step = f", step {row['step']}" if row["step"] not in (None, 1) else ""
    return f"{row['low']:g} to {row['high']:g}{', log' if row['log'] else ''}{step}"


def _budget() -> str:
    small, photo = InputSpec(kind="table", shape=(8,)), InputSpec(kind="image", shape=(3, 224, 224))
    lines = []
    for rows in (200, 1_000, 10_000, 50_000, 500_000):
        size = default_batch_size(rows)
        epochs = [default_epochs(rows, size, spec) for spec in (small, photo)]
        lines.append(f"| {rows:,} | {size} | {epochs[0]} | {epochs[1]} |\n")
    trials = default_trials(small)
    *leaving, last = halving_rungs(trials, 100, 3)
    rungs = "".join(f"{rung.keep} go on from epoch {rung.resource}, " for rung in leaving)
    rungs += f"{last.keep} arrive at epoch {last.resource}"
    return "".join(lines) + BUDGET.format(trials=trials, photo_trials=default_trials(photo), rungs=rungs) + _own()


def _own() -> str:
    """`OWN` with the names that there are; braces stand in its code, so that it is no template as a whole."""
    head, table = OWN.split("Training's names", 1)
    names = {
        "optimizers": ", ".join(OPTIMIZERS),
        "schedules": ", ".join(SCHEDULES),
        "precisions": ", ".join(PRECISIONS),
    }
    return head + "Training's names" + table.format(**names)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
