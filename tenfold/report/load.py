"""Reads a run folder, also one that is being written, was interrupted, or was killed within a line."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.core.errors import RunError
from tenfold.report.records import (
    Baseline,
    Curve,
    DepartureRecord,
    Final,
    MemberScore,
    RungRecord,
    RunRecords,
    Score,
    Trial,
)

SCHEMA = 1
EVENTS = ("sick", "stopped", "split")

Line = dict[str, Any]


def load_run(folder: str | os.PathLike[str]) -> RunRecords:
    """Reads what a run left on disk.

    A torn last line of `records.jsonl` (the process was killed while it wrote) is left out. When an epoch was
    recorded twice (a resumed run trained it again), the later record counts. Kinds of records that this
    version does not know are passed over. Arrays that cannot be read are named in `RunRecords.problems`.

    Args:
        folder: a run folder, such as `runs/digits-1`.

    Returns:
        The records, with NaN for every number that is missing.

    Raises:
        RunError: there is no readable `run.json`, it was written under another schema, or a line of
            `records.jsonl` other than the last is not JSON.

    Example:
        >>> load_run("runs/nowhere")
        Traceback (most recent call last):
            ...
        tenfold.core.errors.RunError: load_run: runs/nowhere has no run.json. Give the folder of a run, ...
    """
    folder = Path(folder)
    run = _read_run(folder)
    lines = _read_lines(folder / "records.jsonl")
    problems: dict[str, str] = {}
    finals = [_final(line) for line in lines["final"]]
    return RunRecords(
        folder=folder,
        run=run,
        trials=_trials(lines["trial"]),
        curves=_curves(lines["epoch"]),
        scores=_member_scores(lines["score"]),
        rungs=_rungs(lines["rung"]),
        departures=_departures(lines["left"]),
        generations=tuple(sorted({int(line["first"]) for line in lines["proposal"]})),
        baselines=tuple({line["name"]: _baseline(line) for line in lines["baseline"]}.values()),
        events=tuple(line for kind in EVENTS for line in lines[kind]),
        final=finals[-1] if finals else None,
        evaluation=_evaluation(folder, run, problems),
        gallery=_read_arrays(folder / "gallery.npz", problems),
        honesty=_read_arrays(folder / "honesty.npz", problems),
        worst_rows=_read_worst_rows(folder / "gallery.json", problems),
        problems=problems,
    )


def _read_run(folder: Path) -> dict[str, Any]:
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"load_run: {folder} has no run.json. Give the folder of a run, such as runs/digits-1."
        ) from None
    except ValueError as error:
        raise RunError(
            f"load_run: {folder / 'run.json'} must be JSON, got: {error}. Start anew with --overwrite."
        ) from None
    schema = run.get("schema") if isinstance(run, dict) else None
    if schema != SCHEMA:
        raise RunError(
            f"load_run: run.json must have schema {SCHEMA}, got {schema!r}. "
            "Read the folder with the version of tenfold that wrote it."
        )
    return run


def _read_lines(path: Path) -> defaultdict[str, list[Line]]:
    """The records by kind; no file means no records."""
    lines: defaultdict[str, list[Line]] = defaultdict(list)
    if not path.exists():
        return lines
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    while texts and not texts[-1].strip():
        texts.pop()
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError:
            if number == len(texts):
                break
            raise RunError(
                f"load_run: line {number} of {path} must be JSON, got {text[:40]!r}. Delete the line."
            ) from None
        if isinstance(line, dict):
            lines[str(line.get("kind"))].append(line)
    return lines


def _number(value: Any) -> float:
    """A float; NaN for None, for text that is no number and for a bare `{}`."""
    if isinstance(value, Mapping):
        value = value.get("value")
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _numbers(record: Any) -> dict[str, float]:
    return {name: _number(value) for name, value in (record or {}).items()}


def _scores(record: Any) -> dict[str, Score]:
    return {name: _score(value) for name, value in (record or {}).items()}


def _score(value: Any) -> Score:
    if not isinstance(value, Mapping):
        return Score(value=_number(value))
    n = value.get("n")
    return Score(
        value=_number(value),
        n=None if n is None else int(n),
        low=_number(value.get("low")),
        high=_number(value.get("high")),
        level=float(value.get("level") or 0.95),
    )


def _trials(lines: Iterable[Line]) -> dict[int, Trial]:
    trials = {
        int(line["trial"]): Trial(
            number=int(line["trial"]),
            network=str(line.get("network") or "network"),
            config=dict(line.get("config") or {}),
            stack=line.get("stack"),
            name=None if line.get("name") is None else str(line["name"]),
        )
        for line in lines
    }
    return dict(sorted(trials.items()))


def _curves(lines: Iterable[Line]) -> dict[tuple[int, int, int], Curve]:
    members: dict[tuple[int, int, int], dict[int, Line]] = defaultdict(dict)
    for line in lines:
        member = (int(line["trial"]), int(line.get("fold") or 0), int(line.get("seed") or 0))
        members[member][int(line["epoch"])] = line
    return {member: _curve(member, members[member]) for member in sorted(members)}


def _curve(member: tuple[int, int, int], by_epoch: dict[int, Line]) -> Curve:
    epochs = sorted(by_epoch)
    valid = [_numbers(by_epoch[epoch].get("valid")) for epoch in epochs]
    metrics = sorted({name for scores in valid for name in scores})
    return Curve(
        trial=member[0],
        fold=member[1],
        seed=member[2],
        epochs=np.array(epochs, dtype=np.int64),
        train_loss=np.array([_number(by_epoch[epoch].get("train_loss")) for epoch in epochs]),
        valid={name: np.array([scores.get(name, np.nan) for scores in valid]) for name in metrics},
        steps=np.array([by_epoch[epoch]["step"] for epoch in epochs]) if "step" in by_epoch[epochs[0]] else None,
    )


def _member_scores(lines: Iterable[Line]) -> tuple[MemberScore, ...]:
    """One a member; of two records the later counts."""
    members: dict[tuple[int, int, int], MemberScore] = {}
    for line in lines:
        member = (int(line["trial"]), int(line.get("fold") or 0), int(line.get("seed") or 0))
        epoch, test = line.get("epoch"), line.get("test")
        members[member] = MemberScore(
            trial=member[0],
            fold=member[1],
            seed=member[2],
            epoch=None if epoch is None else int(epoch),
            valid=_numbers(line.get("valid")),
            test=None if test is None else _numbers(test),
        )
    return tuple(members[member] for member in sorted(members))


def _rungs(lines: Iterable[Line]) -> tuple[RungRecord, ...]:
    """One record a rung: what several stacks or a resumed run wrote under one number is put together."""
    rungs: dict[tuple[int, int], RungRecord] = {}
    for line in lines:
        key = (int(line.get("bracket") or 0), int(line["rung"]))
        scores = {int(trial): _number(score) for trial, score in (line.get("scores") or {}).items()}
        before = rungs.get(key)
        rungs[key] = RungRecord(
            rung=key[1],
            bracket=key[0],
            epoch=int(line.get("epoch") or 0),
            scores={**(before.scores if before else {}), **scores},
            kept=_together(before.kept if before else (), line.get("kept")),
            left=_together(before.left if before else (), line.get("left")),
        )
    return tuple(rungs[key] for key in sorted(rungs))


def _departures(lines: Iterable[Line]) -> tuple[DepartureRecord, ...]:
    """One a trial; of two records the later counts."""
    found = {
        int(line["trial"]): DepartureRecord(
            trial=int(line["trial"]),
            epoch=int(line.get("epoch") or 0),
            how=str(line.get("how") or "left"),
            reason=str(line.get("reason") or ""),
            step=int(line.get("step") or 0),
        )
        for line in lines
    }
    return tuple(found.values())


def _together(before: tuple[int, ...], now: Any) -> tuple[int, ...]:
    return tuple(dict.fromkeys([*before, *(int(trial) for trial in now or ())]))


def _baseline(line: Line) -> Baseline:
    return Baseline(
        name=str(line["name"]),
        valid=_numbers(line.get("valid")),
        test=_scores(line.get("test")),
        seconds=_number(line.get("seconds")),
    )


def _final(line: Line) -> Final:
    trial, epoch = line.get("trial"), line.get("epoch")
    return Final(
        trial=None if trial is None else int(trial),
        how=str(line.get("how") or "best"),
        epoch=None if epoch is None else int(epoch),
        valid=_numbers(line.get("valid")),
        test=_scores(line.get("test")),
    )


def _evaluation(folder: Path, run: dict[str, Any], problems: dict[str, str]) -> dict[str, np.ndarray]:
    """Of a fit the test part; of folds and seeds what the members of the best trial say of rows they did not see."""
    if str(run.get("verb") or "fit") in ("fit", "search"):
        return _read_arrays(folder / "evaluation.npz", problems)
    arrays = _read_arrays(folder / "out-of-fold.npz", problems)
    best = ((run.get("result") or {}).get("best") or {}).get("trial", 0)
    outputs = arrays.get(f"outputs-{best}")
    if outputs is None or "targets" not in arrays:
        return {}
    if outputs.ndim == 3:  # of a segmentation, counts of pixels
        return {"counts": outputs}
    if outputs.ndim == 1:
        return {"targets": arrays["targets"], "predictions": outputs}
    if run.get("task") == "regression":
        middle = outputs[:, outputs.shape[1] // 2]
        return {"targets": arrays["targets"], "predictions": middle, "quantiles": outputs}
    if run.get("task") == "multilabel":
        said = (outputs > 0.5).astype(np.int64)
        return {"targets": arrays["targets"], "predictions": said, "probabilities": outputs}
    return {"targets": arrays["targets"], "predictions": outputs.argmax(axis=1), "probabilities": outputs}


def _read_arrays(path: Path, problems: dict[str, str]) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        # Opened here, as np.load forgets to close a file that turns out to be torn.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        problems[path.name] = str(error) or type(error).__name__
        return {}


def _read_worst_rows(path: Path, problems: dict[str, str]) -> tuple[dict[str, Any], ...]:
    if not path.exists():
        return ()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems[path.name] = str(error)
        return ()
    rows = record.get("worst") if isinstance(record, dict) else None
    return tuple(row for row in rows or () if isinstance(row, dict))
