"""The test part, touched once: the final model's metrics with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenfold.data import DataPart, TargetEncoder
from tenfold.study.material import Material
from tenfold.study.model import Model
from tenfold.study.outputs import answers_of, for_metrics
from tenfold.tasks import metric_intervals
from tenfold.tasks.supervised import SupervisedTask


@dataclass(frozen=True, kw_only=True)
class TestScore:
    """What the final model does on the test part.

    Attributes:
        scores: by metric name {"value", "n", "low", "high"}.
        outputs: probabilities, shape (N, K) or (N, L), standardised values, shape (N,) or (N, Q), or maps of places
            of classes, uint8, shape (N, H, W).
    """

    __test__ = False

    scores: dict[str, dict[str, float]]
    outputs: np.ndarray


def score_test(model: Model, material: Material, task: SupervisedTask, seed: int, folder: Path) -> TestScore | None:
    """Scores a model on the test rows and writes `evaluation.npz`; None when there are no test rows."""
    if material.test is None:
        return None
    part = DataPart.of(material.source, material.test.rows, model.preprocessor, model.encoder)
    outputs = model.outputs_on(material.source.inputs.take(part.rows))
    part = DataPart(part.inputs, part.targets, material.source.row_numbers(part.rows))
    scores = score_outputs(task, model.encoder, outputs, part.targets, seed)
    save_evaluation(folder / "evaluation.npz", model.encoder, outputs.numpy(), part)
    return TestScore(scores=scores, outputs=outputs.numpy())


def score_outputs(
    task: SupervisedTask, encoder: TargetEncoder, outputs: torch.Tensor, targets: torch.Tensor, seed: int
) -> dict[str, Any]:
    """Every metric with its interval, from probabilities, standardised values or maps."""
    targets = targets.cpu()
    return dict(metric_intervals(task, for_metrics(encoder, outputs, targets), targets, seed=seed))


def in_units_of(encoder: TargetEncoder, model: Model, outputs: np.ndarray) -> np.ndarray:
    """A regression's values, standardised as another encoder does; probabilities as they are."""
    if encoder.task != "regression" or model.encoder is encoder:
        return outputs
    return np.asarray((outputs * model.encoder.std + model.encoder.mean - encoder.mean) / encoder.std)


def save_evaluation(path: Path, encoder: TargetEncoder, outputs: np.ndarray, part: DataPart) -> None:
    """Writes targets and predictions, for the report and for whoever wants to look closer."""
    targets = part.targets.cpu().numpy()
    arrays: dict[str, np.ndarray] = {"rows": part.rows}
    if encoder.codes is not None:
        counts = for_metrics(encoder, torch.from_numpy(outputs), part.targets.cpu())
        arrays |= {"targets": targets, "predictions": outputs, "counts": counts.numpy()}
    elif encoder.classes is not None:
        arrays |= {"targets": targets, "predictions": outputs.argmax(axis=1), "probabilities": outputs}
    elif encoder.labels is not None:
        arrays |= {"targets": targets.astype(np.int64), "predictions": (outputs > 0.5).astype(np.int64)}
        arrays |= {"probabilities": outputs}
    else:
        arrays |= {"targets": encoder.decode(targets), "predictions": answers_of(encoder, outputs)}
        arrays |= {"quantiles": encoder.decode(outputs)} if encoder.quantiles else {}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
