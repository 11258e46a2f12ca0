"""The command line: words become calls, answers become text. Nothing is decided here.

What a person reads goes to stderr while the work goes on, and the answer to stdout; with `--json` stdout holds one
JSON object alone, as its last line. Exit code 0: done; 2: the command or the data cannot be used; 130: interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.flop_counter import FlopCounterMode

import tenfold
from tenfold.core.errors import TenfoldError
from tenfold.core.specs import InputSpec
from tenfold.data import SOURCES
from tenfold.networks import NETWORKS, build_network
from tenfold.report import (
    leaderboard,
    load_run,
    outcome_line,
    render_leaderboard,
    render_outcome,
    write_report,
)
from tenfold.study import Listener, Run
from tenfold.train import Progress as TrainingProgress

app = typer.Typer(
    name="tenfold",
    help="Trains many sibling networks as one program. Begin with: tenfold fit digits",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the answer.")]
SourceName = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A folder, a file, or a name from `tenfold sources`.")
]
Target = Annotated[str | None, typer.Option(help="Target column: its name or number. Default: the last.")]
TaskName = Annotated[str | None, typer.Option("--task", help="classification or regression. Default: what fits.")]
MetricName = Annotated[str | None, typer.Option("--metric", help="accuracy, macro_f1, log_loss, rmse, ...")]
NetworkName = Annotated[str | None, typer.Option("--network", help="A name from `tenfold networks`.")]
Config = Annotated[
    list[str] | None, typer.Option("--config", help="KEY=VALUE, such as lr=0.003 or hidden=128; may be repeated.")
]
Epochs = Annotated[int | None, typer.Option(help="Epochs of every training.")]
BatchSize = Annotated[int | None, typer.Option(help="Samples a step.")]
ImageSize = Annotated[int | None, typer.Option(help="Resize picture files to this many pixels.")]
Header = Annotated[bool | None, typer.Option(help="Whether a table's first row holds names.")]
LossName = Annotated[str | None, typer.Option("--loss", help="Of a regression: mse, l1 or huber.")]
FormName = Annotated[
    str, typer.Option("--form", help="auto, stacked (one program), serial (one by one) or compiled.")
]
Threads = Annotated[int | None, typer.Option(help="CPU threads for training. Default: measured.")]
Seed = Annotated[int, typer.Option(help="Of every random choice; the trainings' seeds count up from it.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/<source>-<n>.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
Folds = Annotated[int | None, typer.Option(help="Into how many folds the rows are cut.")]
Manner = Annotated[
    str | None, typer.Option(help="stratified, plain, grouped, time-series, ... Default: what suits the data.")
]
Group = Annotated[str | None, typer.Option(help="Column whose values never stand on both sides of a fold.")]
TestFraction = Annotated[float, typer.Option(help="Share of the rows to score on, once, at the end.")]
ValidFraction = Annotated[float, typer.Option(help="Share of the rows to score on where there are no folds.")]


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turns errors that a user can mend into one sentence and exit code 2, and Ctrl-C into exit code 130."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as error:
            err.print(f"interrupted{'; ' * bool(str(error))}{error}", markup=False)
            raise typer.Exit(130) from error
        except Exception as error:
            if os.environ.get("TENFOLD_DEBUG") or not _can_be_mended(error):
                raise
            err.print(f"tenfold: {_sentence(error)}", markup=False)
            raise typer.Exit(2) from error

    return run


def _can_be_mended(error: Exception) -> bool:
    """Whether an error tells a user about data, command or machine, and not a programmer about a mistake."""
    return isinstance(error, TenfoldError | ValueError | OSError) or _lacks_memory(error)


def _lacks_memory(error: Exception) -> bool:
    if isinstance(error, TenfoldError):
        return False
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _sentence(error: Exception) -> str:
    if _lacks_memory(error):
        return f"out of memory ({_first_line(error)}). Choose a smaller --batch-size, --image-size or network."
    if isinstance(error, OSError) and error.strerror and not isinstance(error, TenfoldError):
        return f"{error.filename or 'the disk'}: {error.strerror}."
    return " ".join(str(error).split())


def _first_line(error: Exception) -> str:
    """What an error says before it goes into its own details, such as torch's place in its source."""
    text = str(error).strip().split("\n")[0].split("] . ")[-1]
    return text.rstrip(".") or type(error).__name__


class _Screen(Listener):
    """Shows a study on stderr: a moving line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.moving = err.is_terminal and not quiet
        self._bar: Progress | None = None
        self._said = time.monotonic()
        self._shown = 0.0

    def note(self, sentence: str) -> None:
        if not self.quiet:
            err.print(f"  {sentence}", markup=False)

    def stage(self, name: str) -> None:
        self._stop()
        titles = {
            "read": "Reading the data",
            "plan": "Planning",
            "train": "Training",
            "final": "Making the final model",
            "score": "Scoring on the test part, with baselines",
            "scores": "Scoring every training",
            "report": "Writing the report",
        }
        if not self.quiet:
            err.print(titles.get(name, name), style="bold")

    def progress(self, progress: TrainingProgress) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if self.moving and now - self._shown > 0.1:
            self._shown = now
            self._move(progress)
        elif not self.moving and now - self._said > 10.0:
            self._said = now
            err.print(f"  {progress.share:4.0%}  {_progress_text(progress)}", markup=False)

    def _move(self, progress: TrainingProgress) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("  {task.description}"), BarColumn(bar_width=20), TimeRemainingColumn(), console=err
            )
            self._bar.add_task("", total=1.0)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=progress.share, description=_progress_text(progress))

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Takes the moving line off the terminal."""
        self._stop()


def _progress_text(progress: TrainingProgress) -> str:
    best = "" if progress.best is None else f", best {progress.best:.4g}"
    members = f"{progress.members} member{'s' if progress.members != 1 else ''}"
    return f"epoch {progress.epoch + 1}/{progress.epochs}, {members} training{best}"


@app.command()
@_guarded
def fit(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, a file, or a name from `tenfold sources`.")
    ],
    target: Annotated[str | None, typer.Option(help="Target column: its name or number. Default: the last.")] = None,
    task: Annotated[str | None, typer.Option(help="classification or regression. Default: what fits.")] = None,
    metric: Annotated[str | None, typer.Option(help="What decides: accuracy, macro_f1, log_loss, rmse, ...")] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="A name from `tenfold networks`; may be repeated.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to try.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a trial that is never stopped.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="What it all may take: 90s, 10m, 1h30m.")] = None,
    final: Annotated[
        str, typer.Option(help="best: keep the best weights. refit: train anew on everything. average: ensemble.")
    ] = "best",
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Resize picture files to this many pixels.")] = None,
    header: Annotated[bool | None, typer.Option(help="Whether a table's first row holds names.")] = None,
    loss: Annotated[str | None, typer.Option(help="Of a regression: mse, l1 or huber.")] = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="Weigh classes inversely to their frequency.")] = False,
    valid_fraction: Annotated[float, typer.Option(help="Share of the rows to choose by.")] = 0.2,
    test_fraction: Annotated[float, typer.Option(help="Share of the rows to score on, once.")] = 0.2,
    reduction_factor: Annotated[int, typer.Option(help="From a rung one trial in this many goes on.")] = 3,
    form: Annotated[str, typer.Option(help="auto, stacked (one program), serial (one by one) or compiled.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads for training. Default: measured.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    out_folder: Annotated[Path | None, typer.Option("--out", help="Run folder. Default: runs/<source>-<n>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find a good model on your data, and keep it."""
    screen = _Screen(quiet=quiet)
    try:
        run = tenfold.fit(
            source,
            target=_name_or_number(target), task=task, metric=metric, network=network, trials=trials, epochs=epochs,
            time=time, final=final, batch_size=batch_size, image_size=image_size, header=header, loss=loss,
            balanced=balanced, valid_fraction=valid_fraction, test_fraction=test_fraction, form=form,
            reduction_factor=reduction_factor, threads=threads, seed=seed,
            device=device, out=out_folder, resume=resume, overwrite=overwrite, listener=screen,
        )  # fmt: skip
    finally:
        screen.close()
    _answer(run, as_json, quiet)


def _answer(run: Run, as_json: bool, quiet: bool) -> None:
    """The leaderboard, the sentence that answers, and where to look further."""
    if as_json:
        if not quiet:
            _show(run, err)
        print(json.dumps(run.result, ensure_ascii=False))
    else:
        _show(run, out)


def _show(run: Run, console: Console) -> None:
    console.print(render_leaderboard(leaderboard(load_run(run.path))))
    result = run.result
    test = result["test"]
    if test is not None:
        console.print(
            f"{result['best']['network']} (trial {result['best']['trial']}): test {result['metric']} "
            f"{test['value']:.4g} [{test['low']:.4g}, {test['high']:.4g}], n = {test['n']}, "
            f"{result['seconds']:.0f} s",
            style="bold",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)


@app.command()
@_guarded
def cv(
    source: SourceName,
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    network: NetworkName = None,
    config: Config = None,
    folds: Folds = 5,
    repeats: Annotated[int, typer.Option(help="How often the rows are cut anew.")] = 1,
    seeds: Annotated[int, typer.Option(help="Trainings on each fold.")] = 1,
    manner: Manner = None,
    group: Group = None,
    final: Annotated[
        str,
        typer.Option(help="average: all folds as one model. best: the best fold's. refit: anew on all rows. none."),
    ] = "average",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    header: Header = None,
    loss: LossName = None,
    test_fraction: TestFraction = 0.0,
    form: FormName = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    device: Device = "auto",
    out_folder: OutFolder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How good is a network? Cross-validation, all folds as one program."""
    _ask(
        lambda screen: tenfold.cross_validate(
            network, source, target=_name_or_number(target), task=task, metric=metric, config=_values(config),
            folds=folds, repeats=repeats, seeds=seeds, manner=manner, group=group, final=final, epochs=epochs,
            batch_size=batch_size, image_size=image_size, header=header, loss=loss, test_fraction=test_fraction,
            form=form, threads=threads, seed=seed, device=device, out=out_folder, resume=resume, overwrite=overwrite,
            listener=screen,
        ),
        as_json, quiet,
    )  # fmt: skip


@app.command()
@_guarded
def replicate(
    source: SourceName,
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    network: NetworkName = None,
    config: Config = None,
    seeds: Annotated[int, typer.Option(help="How many trainings.")] = 10,
    vary: Annotated[
        list[str] | None, typer.Option(help="What each draws anew: init, order, augment; may be repeated.")
    ] = None,
    final: Annotated[
        str, typer.Option(help="none, best: the best start. average: all as one model. refit: once more on all.")
    ] = "none",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    header: Header = None,
    loss: LossName = None,
    valid_fraction: ValidFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    form: FormName = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    device: Device = "auto",
    out_folder: OutFolder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How much is luck? The same network from many seeds, as one program."""
    varied = {"vary": vary} if vary else {}
    _ask(
        lambda screen: tenfold.replicate(
            network, source, target=_name_or_number(target), task=task, metric=metric, config=_values(config),
            seeds=seeds, final=final, epochs=epochs, batch_size=batch_size, image_size=image_size, header=header,
            loss=loss, valid_fraction=valid_fraction, test_fraction=test_fraction, form=form, threads=threads,
            seed=seed, device=device, out=out_folder, resume=resume, overwrite=overwrite, listener=screen, **varied,
        ),
        as_json, quiet,
    )  # fmt: skip


@app.command()
@_guarded
def compare(
    source: SourceName,
    method: Annotated[
        list[str],
        typer.Option(help="NAME=NETWORK,KEY=VALUE,... such as small=mlp,hidden=32; at least two."),
    ],
    target: Target = None,
    task: TaskName = None,
    metric: MetricName = None,
    config: Config = None,
    folds: Folds = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each method on each fold.")] = 10,
    manner: Manner = None,
    group: Group = None,
    against: Annotated[
        str | None, typer.Option(help="Hold all others against this method. Default: all pairs.")
    ] = None,
    final: Annotated[str, typer.Option(help="none, or of the better method best, average or refit.")] = "none",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    header: Header = None,
    loss: LossName = None,
    valid_fraction: ValidFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    form: FormName = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    device: Device = "auto",
    out_folder: OutFolder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which is better, and how sure? Methods compared in pairs, by fold and seed."""
    _ask(
        lambda screen: tenfold.compare(
            dict(_method(text) for text in method), source, target=_name_or_number(target), task=task,
            metric=metric, config=_values(config), folds=folds, seeds=seeds, manner=manner, group=group,
            against=against, final=final, epochs=epochs, batch_size=batch_size, image_size=image_size, header=header,
            loss=loss, valid_fraction=valid_fraction, test_fraction=test_fraction, form=form, threads=threads,
            seed=seed, device=device, out=out_folder, resume=resume, overwrite=overwrite, listener=screen,
        ),
        as_json, quiet,
    )  # fmt: skip


def _ask(question: Callable[[_Screen], Run], as_json: bool, quiet: bool) -> None:
    screen = _Screen(quiet=quiet)
    try:
        run = question(screen)
    finally:
        screen.close()
    if as_json:
        if not quiet:
            _show_outcome(run, err)
        print(json.dumps(run.result, ensure_ascii=False))
    else:
        _show_outcome(run, out)


def _show_outcome(run: Run, console: Console) -> None:
    console.print(render_outcome(run.result))
    console.print(outcome_line(run.result), style="bold", markup=False, soft_wrap=True)
    console.print(f"report: {run.path / 'report.html'}", markup=False, soft_wrap=True)


def _values(pairs: list[str] | None, option: str = "--config") -> dict[str, Any]:
    """KEY=VALUE pairs, the values as numbers or truth values where they are."""
    values: dict[str, Any] = {}
    for pair in pairs or []:
        key, mark, text = pair.partition("=")
        if not (key and mark and text):
            raise tenfold.InputError(f"{option} must be KEY=VALUE, got {pair!r}. Write lr=0.003, say.")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values


def _method(text: str) -> tuple[str, tuple[str, dict[str, Any]]]:
    """NAME=NETWORK,KEY=VALUE,... as a name, a network and its configuration."""
    name, mark, rest = text.partition("=")
    network, *pairs = rest.split(",")
    if not (name and mark and network):
        raise tenfold.InputError(
            f"--method must be NAME=NETWORK,KEY=VALUE,..., got {text!r}. Write small=mlp,hidden=32."
        )
    return name, (network, _values(pairs, "--method"))


@app.command()
@_guarded
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    inputs: Annotated[str, typer.Argument(metavar="INPUT", help="A file or folder like the one trained on.")],
    out_file: Annotated[Path, typer.Option("--out", help="CSV file to write.")] = Path("predictions.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    header: Annotated[bool | None, typer.Option(help="Whether a table's first row holds names.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict with a run's final model: one row a sample."""
    if out_file.exists() and not overwrite:
        raise tenfold.RunError(f"--out: {out_file} exists. Choose another name, or add --overwrite.")
    model = tenfold.load(run)
    table, skipped = model.predict_table(inputs, header=header)
    table.to_csv(out_file, index=False)
    if not quiet:
        for item in skipped:
            err.print(f"  skipped {item.path}: {item.reason}", markup=False)
    message = {"schema": 1, "run": str(run), "predictions": str(out_file), "n": len(table), "skipped": len(skipped)}
    if as_json:
        print(json.dumps(message, ensure_ascii=False))
    else:
        out.print(f"{len(table)} predictions: {out_file}", markup=False, soft_wrap=True)


@app.command()
@_guarded
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Data with targets that the model has not seen.")],
    target: Annotated[str | None, typer.Option(help="Target column, if it is called otherwise.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run's final model on other data with known targets."""
    if not (run / "run.json").exists() and (Path(source) / "run.json").exists():
        run, source = Path(source), str(run)
    scores = Run(run).evaluate(source, target=_name_or_number(target))
    if as_json:
        print(json.dumps({"schema": 1, "run": str(run), "scores": scores}, ensure_ascii=False))
        return
    for name, score in scores.items():
        out.print(
            f"{name:>18}  {score['value']:.4g}  [{score['low']:.4g}, {score['high']:.4g}]  n = {score['n']}",
            markup=False,
        )


@app.command()
@_guarded
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's report anew; it is one HTML file that opens without a network."""
    path = write_report(run)
    if as_json:
        print(json.dumps({"schema": 1, "run": str(run), "report": str(path)}, ensure_ascii=False))
    else:
        out.print(f"report: {path}", markup=False, soft_wrap=True)


@app.command()
@_guarded
def networks(as_json: Json = False) -> None:
    """List the networks, with parameters and FLOPs a sample (3x32x32 pictures or 16 columns, 10 classes).

    A multiplication and an addition are two FLOPs; biases, activations and normalisation are not counted.
    """
    rows: list[dict[str, Any]] = []
    for name in NETWORKS:
        entry = NETWORKS[name]
        image = "image" in entry.kinds
        spec = InputSpec(kind="image", shape=(3, 32, 32)) if image else InputSpec(kind="table", shape=(16,))
        model = build_network(name, spec, 10)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.eval()(torch.zeros(1, *spec.shape))
        rows.append(
            {
                "name": name,
                "parameters": parameters,
                "flops": counter.get_total_flops(),
                "inputs": sorted(entry.kinds),
                "stacks": entry.stacks,
                "reference": entry.reference,
            }
        )
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    out.print(f"{'name':<10}{'parameters':>11}{'FLOPs':>14}  {'inputs':<13} reference", style="bold")
    for row in rows:
        numbers = f"{row['name']:<10}{row['parameters']:>11,}{row['flops']:>14,}"
        out.print(f"{numbers}  {', '.join(row['inputs']):<13} {row['reference']}", soft_wrap=True)


@app.command(name="sources")
@_guarded
def list_sources(as_json: Json = False) -> None:
    """List the data sets that come along, so that a first run needs no download."""
    rows = [{"name": name, "description": SOURCES[name].description} for name in SOURCES]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        out.print(f"{row['name']:<16} {row['description']}", markup=False, soft_wrap=True)


def main() -> None:
    """The command `tenfold`."""
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        if sentence := " ".join(error.format_message().split()).rstrip("."):  # empty where help was shown instead
            path = getattr(getattr(error, "ctx", None), "command_path", "tenfold")
            err.print(f"tenfold: {sentence}. See {path} --help.", markup=False)
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _name_or_number(text: str | None) -> str | int | None:
    """A column's number where the text is one."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text


def _version(value: bool) -> None:
    if value:
        print(f"tenfold {tenfold.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Trains many sibling networks as one program. Begin with: tenfold fit digits."""


if __name__ == "__main__":
    main()
