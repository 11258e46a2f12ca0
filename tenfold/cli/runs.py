"""`tenfold predict`, `evaluate` and `report`: what a run is good for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

import tenfold
from tenfold.cli.app import app, err, guarded, out, say_json
from tenfold.cli.options import Encoding, Header, Json, Quiet, name_or_number
from tenfold.core.writing import written_beside
from tenfold.report import format_scored, write_masks, write_report
from tenfold.study import Run

TABLE_ENDINGS = ("", ".csv", ".txt", ".gz")


@app.command()
@guarded
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    inputs: Annotated[str, typer.Argument(metavar="INPUT", help="A file or folder like the one trained on.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="CSV file to write, or folder of masks. Default: predictions[.csv].")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Probabilities by the temperature fitted on validation rows.")
    ] = False,
    header: Header = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict with a run's final model: one row a sample, or one mask a picture."""
    model = tenfold.load(run)
    of_masks = model.encoder.codes is not None
    out_file = out_file or Path("predictions" if of_masks else "predictions.csv")
    if out_file.exists() and not overwrite:
        raise tenfold.RunError(f"--out: {out_file} exists. Choose another name, or add --overwrite.")
    _refuse_out(out_file, inputs, of_masks=of_masks)
    if not out_file.parent.is_dir():
        raise tenfold.RunError(f"--out: there is no folder {out_file.parent}. Make it, or choose another place.")
    raw = model.read(inputs, header=header, encoding=encoding)
    for note in () if quiet else model.remarks(raw):
        err.print(f"  {note}", markup=False)
    if of_masks:
        masks, skipped = model.predict_masks(raw)
        write_masks(out_file, masks)
        count = len(masks)
    else:
        table, skipped = model.predict_table(raw, calibrated=calibrated)
        packing = "gzip" if out_file.suffix.lower() == ".gz" else None
        with written_beside(out_file) as draft:
            table.to_csv(draft, index=False, compression=packing)
        count = len(table)
    if not quiet:
        for item in skipped:
            err.print(f"  skipped {item.path}: {item.reason}", markup=False)
    message = {"schema": 1, "run": str(run), "predictions": str(out_file), "n": count, "skipped": len(skipped)}
    if as_json:
        say_json(message)
    else:
        out.print(f"{count} predictions: {out_file}", markup=False, soft_wrap=True)


def _refuse_out(path: Path, inputs: str, *, of_masks: bool) -> None:
    """Refuses a place where predictions would replace what they are made from, or a table have another's ending."""
    if Path(inputs).exists() and path.resolve() == Path(inputs).resolve():
        raise tenfold.RunError(f"--out: {path} is the input itself. Choose another name.")
    if not of_masks and path.is_dir():
        raise tenfold.RunError(f"--out: {path} is a folder. Name a file in it.")
    if not of_masks and path.suffix.lower() not in TABLE_ENDINGS:
        raise tenfold.RunError(f"--out: predictions are written as CSV, got {path}. Choose a name that ends in .csv.")


@app.command()
@guarded
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Data with targets that the model has not seen.")],
    target: Annotated[str | None, typer.Option(help="Target column, if it is called otherwise.")] = None,
    header: Header = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run's final model on other data with known targets."""
    if not (run / "run.json").exists() and (Path(source) / "run.json").exists():
        run, source = Path(source), str(run)
    scores = Run(run).evaluate(source, target=name_or_number(target), header=header, encoding=encoding)
    if as_json:
        say_json({"schema": 1, "run": str(run), "scores": scores})
        return
    for name, score in scores.items():
        scored = format_scored(score["value"], score["low"], score["high"])
        if math.isnan(score["value"]):
            scored = "is not defined on these samples,"
        out.print(f"{name:>18}  {scored}  n = {score['n']}", markup=False)


@app.command()
@guarded
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's report anew; it is one HTML file that opens without a network."""
    path = write_report(run)
    if as_json:
        say_json({"schema": 1, "run": str(run), "report": str(path)})
    else:
        out.print(f"report: {path}", markup=False, soft_wrap=True)
