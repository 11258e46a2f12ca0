"""The options that commands share, one by one and in groups, and their words as values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tenfold.core.errors import InputError

PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}  # a value may be written as in Python, too

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the answer.")]
SourceName = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A folder, a file, or a name from `tenfold sources`.")
]
Target = Annotated[
    list[str] | None,
    typer.Option(help="Target column: its name or number. Default: the last. Repeated: labels of 0 and 1."),
]
TaskName = Annotated[
    str | None,
    typer.Option("--task", help="classification, regression, multilabel or segmentation. Default: what fits."),
]
MetricName = Annotated[str | None, typer.Option("--metric", help="accuracy, macro_f1, log_loss, rmse, ...")]
NetworkName = Annotated[str | None, typer.Option("--network", help="A name from `tenfold networks`.")]
Config = Annotated[
    list[str] | None, typer.Option("--config", help="KEY=VALUE, such as lr=0.003 or hidden=128; may be repeated.")
]
Networks = Annotated[
    list[str] | None, typer.Option("--network", help="A name from `tenfold networks`; may be repeated.")
]
Trials = Annotated[int | None, typer.Option(help="Configurations to try.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of every training.")]
MostEpochs = Annotated[int | None, typer.Option("--epochs", help="Epochs of a trial that is never stopped.")]
Time = Annotated[str | None, typer.Option("--time", help="What it all may take: 90s, 10m, 1h30m.")]
TrialSeeds = Annotated[int, typer.Option("--seeds", help="Trainings of each trial on each fold; their mean decides.")]
ReductionFactor = Annotated[int, typer.Option(help="From a rung one trial in this many goes on.")]
BatchSize = Annotated[int | None, typer.Option(help="Samples a step.")]
ImageSize = Annotated[
    str | None, typer.Option(help="Resize picture files to squares of this many pixels, or to HEIGHTxWIDTH.")
]
Ignore = Annotated[
    list[int] | None, typer.Option(help="A value of masks that is no class, such as 11; may be repeated.")
]
Header = Annotated[bool | None, typer.Option(help="Whether a table's first row holds names.")]
Encoding = Annotated[
    str | None, typer.Option(help="Encoding of a table's text: utf-8, gb18030, ... Default: detected.")
]
LossName = Annotated[
    str | None,
    typer.Option("--loss", help="cross_entropy, focal, ordinal; binary_cross_entropy; mse, l1, huber, log_cosh."),
]
Order = Annotated[str | None, typer.Option(help="Classes in an order that matters: low,middle,high.")]
Quantiles = Annotated[str | None, typer.Option(help="Levels that a regression predicts: 0.05,0.5,0.95.")]
FormName = Annotated[
    str,
    typer.Option(
        "--form",
        help="auto, stacked (one program), serial (one by one), side-by-side (one a CPU thread) or compiled.",
    ),
]
Threads = Annotated[int | None, typer.Option(help="CPU threads for training. Default: measured.")]
Seed = Annotated[int, typer.Option(help="Of every random choice; of several trainings the first seed.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/<source>-<n>.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
Folds = Annotated[int | None, typer.Option(help="Into how many folds the rows are cut.")]
Manner = Annotated[
    str | None, typer.Option(help="stratified, plain, grouped, time-series, ... Default: what suits the data.")
]
Group = Annotated[
    str | None, typer.Option(help="What must not be cut: a column, or of picture files a pattern of their names.")
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        help="What each seed draws anew: init, order, augment, split; may be repeated. Default: all but split."
    ),
]
Balanced = Annotated[
    bool, typer.Option("--balanced", help="Weigh classes inversely to their frequency in a fold's training rows.")
]
Repeats = Annotated[int, typer.Option(help="How often the rows are cut anew.")]
NoChecks = Annotated[
    bool, typer.Option("--no-checks", help="Do not look for copies, leaks, cut groups, rare classes, shift.")
]
NoSharing = Annotated[
    bool,
    typer.Option("--no-sharing", help="Let each network compute a frozen first part that all have alike."),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes that augment or fetch samples ahead, 0 for none. Default: as many as pay."),
]
MaxRows = Annotated[
    int | None,
    typer.Option(help="Take so many rows of a larger source, at random, with classes and parts in proportion."),
]
TestFraction = Annotated[float, typer.Option(help="Share of the rows to score on, once, at the end.")]
ValidFraction = Annotated[float, typer.Option(help="Share of the rows to score on where there are no folds.")]


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Data: how a source is read, and what is learned from it."""

    target: Target = None
    task: TaskName = None
    loss: LossName = None
    order: Order = None
    quantiles: Quantiles = None
    header: Header = None
    encoding: Encoding = None
    image_size: ImageSize = None
    ignore: Ignore = None
    max_rows: MaxRows = None

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of the questions, here and in the other groups."""
        return vars(self) | {
            "target": columns_of(self.target),
            "order": words_of(self.order),
            "quantiles": numbers_of(self.quantiles, "--quantiles"),
            "image_size": size_of(self.image_size),
        }


@dataclass(frozen=True, kw_only=True)
class DataOptions(SourceOptions):
    """Data: the same, and how trainings on it are scored."""

    metric: MetricName = None
    group: Group = None
    balanced: Balanced = False
    no_checks: NoChecks = False

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments."""
        return super().arguments() | {"group": name_or_number(self.group)}


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Splits: of the rows, where there are no folds."""

    valid_fraction: ValidFraction = 0.2
    test_fraction: TestFraction = 0.2

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """Training: how steps are taken, and where."""

    batch_size: BatchSize = None
    form: FormName = "auto"
    threads: Threads = None
    workers: Workers = None
    seed: Seed = 0
    device: Device = "auto"

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Run folder: where a run goes."""

    out_folder: OutFolder = None
    resume: Resume = False
    overwrite: Overwrite = False

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments."""
        return {"out": self.out_folder, "resume": self.resume, "overwrite": self.overwrite}


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """Answer: how it is said."""

    as_json: Json = False
    quiet: Quiet = False


def name_or_number(text: str | None) -> str | int | None:
    """A column's number where the text is one."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text


def columns_of(texts: list[str] | None) -> str | int | list[str | int] | None:
    """The target columns, one bare."""
    if not texts:
        return None
    found = [column for text in texts if (column := name_or_number(text)) is not None]
    return found if len(found) > 1 else found[0]


def size_of(text: str | None) -> int | tuple[int, ...] | None:
    """A side in pixels, or height and width.

    Raises:
        InputError: it is neither.
    """
    try:
        sides = None if text is None else tuple(int(side) for side in text.lower().replace("×", "x").split("x"))
    except ValueError as error:
        raise InputError(f"--image-size must be pixels or HEIGHTxWIDTH, got {text!r}. Write 64 or 96x128.") from error
    return sides[0] if sides is not None and len(sides) == 1 else sides


def words_of(text: str | None) -> list[str] | None:
    """The words between commas."""
    return None if text is None else [word.strip() for word in text.split(",")]


def numbers_of(text: str | None, option: str) -> list[float] | None:
    """The numbers between commas.

    Raises:
        InputError: some word is none.
    """
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"{option} must be numbers with commas between, got {text!r}. Write 0.05,0.5,0.95."
        ) from error


def values_of(pairs: list[str] | None, option: str = "--config") -> dict[str, Any]:
    """KEY=VALUE pairs, the values as numbers or truth values where they are."""
    values: dict[str, Any] = {}
    for pair in pairs or []:
        key, mark, text = pair.partition("=")
        if not (key and mark and text):
            raise InputError(f"{option} must be KEY=VALUE, got {pair!r}. Write lr=0.003, say.")
        try:
            values[key] = json.loads(PYTHON_WORDS.get(text, text))
        except ValueError:
            values[key] = text
    return values


def configs_of(texts: list[str] | None) -> list[dict[str, Any]]:
    """KEY=VALUE,... each as a configuration."""
    return [values_of(text.split(","), "--enqueue") for text in texts or []]


def methods_of(texts: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Methods by name, each once.

    Raises:
        InputError: two have one name.
    """
    named = [method_of(text) for text in texts]
    twice = [name for place, (name, _) in enumerate(named) if name in dict(named[:place])]
    if twice:
        raise InputError(f"--method: two methods are called {twice[0]!r}. Give each a name of its own.")
    return dict(named)


def method_of(text: str) -> tuple[str, tuple[str, dict[str, Any]]]:
    """NAME=NETWORK,KEY=VALUE,... as a name, a network and its configuration."""
    name, mark, rest = text.partition("=")
    network, *pairs = rest.split(",")
    if not (name and mark and network):
        raise InputError(f"--method must be NAME=NETWORK,KEY=VALUE,..., got {text!r}. Write small=mlp,hidden=32.")
    return name, (network, values_of(pairs, "--method"))
