"""The baselines of a question, fitted and scored on the rows that its networks are.

On the validation part as a trial is: one part, or the mean over folds, each baseline fitted on a fold's training
rows alone. On the test part as the final model is: fitted on all rows that its networks learned from. Each fold costs
a fit of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tenfold.data import DataPart, Preprocessor
from tenfold.study.grid_data import GridData
from tenfold.study.material import Material, make_task, prepare_refit
from tenfold.study.options import FitOptions
from tenfold.tasks import BaselinePart, BaselineResult, run_baselines


def score_baselines(
    material: Material, options: FitOptions, device: torch.device, folds: GridData | None = None, fold: int = 0
) -> list[dict[str, Any]]:
    """Records of the baselines.

    Args:
        material: the data.
        options: `final` says which rows the final model learned from.
        device: where the data lie.
        folds: of trials with several members, the data as each fold sees them.
        fold: whose training rows the final model learned from, where it is one fold's.
    """
    parts = [material] if folds is None else [_of_fold(material, folds, number) for number in range(len(folds.folds))]
    together = options.final == "refit" or (len(parts) > 1 and options.final != "best")
    results = [
        _results(part, options, with_test=not together and number == fold) for number, part in enumerate(parts)
    ]
    tested = results[fold] if len(parts) > 1 else results[0]
    if together and material.test is not None:
        tested = _results(prepare_refit(material, options, device), options, with_test=True)
    return [_record(own, last) for own, last in zip(zip(*results, strict=True), tested, strict=True)]


def _of_fold(material: Material, folds: GridData, fold: int) -> Material:
    """The material as one fold sees it."""
    seen, rows = folds.seen, folds.folds
    return replace(
        material,
        preprocessor=seen.preprocessors[fold],
        encoder=seen.encoders[fold],
        train=seen.part(fold, rows.train[fold]),
        valid=seen.part(fold, rows.valid[fold]),
        test=None if material.test is None else seen.part(fold, material.test.rows),
    )


def _results(material: Material, options: FitOptions, *, with_test: bool) -> list[BaselineResult]:
    spec = material.preprocessor.spec
    return run_baselines(
        make_task(material, replace(options, balanced=False)),  # metrics do not weigh classes
        _part(material, material.train),
        _part(material, material.valid),
        _part(material, material.test) if with_test and material.test is not None else None,
        kind=spec.kind,
        cardinalities=spec.cardinalities,
        seed=options.seed,
    )


def _part(material: Material, part: DataPart) -> BaselinePart:
    """A part as the networks see it in evaluation, as arrays; where pixels are predicted, the masks alone."""
    if material.encoder.codes is not None:
        return BaselinePart(x=np.zeros((len(part), 0)), y=part.targets.cpu().numpy())
    if material.preprocessor.spec.kind == "image":
        return BaselinePart(x=PreparedPictures(material.preprocessor, part), y=part.targets.cpu().numpy())
    prepared = material.preprocessor.prepare_batch(part.inputs, False)
    arrays = [tensor.cpu().numpy() for tensor in prepared]
    return BaselinePart(x=arrays[0], y=part.targets.cpu().numpy(), codes=arrays[1] if len(arrays) > 1 else None)


class PreparedPictures:
    """Pictures as networks see them, prepared when they are asked for: all of them at once would be floats.

    Args:
        preprocessor: what prepares them.
        part: what they are, N samples.
    """

    def __init__(self, preprocessor: Preprocessor, part: DataPart) -> None:
        self._preprocessor, self._inputs = preprocessor, part.inputs
        self.shape = (len(part), *preprocessor.spec.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Float32, shape (n, C, H, W)."""
        chosen = rows if isinstance(rows, slice) else torch.from_numpy(np.asarray(rows))
        return self._preprocessor.prepare_batch(tuple(t[chosen] for t in self._inputs), False)[0].cpu().numpy()


def _record(folds: Sequence[BaselineResult], tested: BaselineResult) -> dict[str, Any]:
    """One baseline: its mean over the folds, and its scores on the test part."""
    first = folds[0]
    valid = {name: float(np.mean([result.valid[name] for result in folds])) for name in first.valid}
    notes = dict.fromkeys(result.note for result in (*folds, tested) if result.note)
    if len(folds) > 1:
        notes = {f"On the validation part the mean over {len(folds)} folds.": None, **notes}
    return {"name": first.name, "valid": valid, "test": tested.test, "note": " ".join(notes)}
