"""What it brought to let several networks predict together, on the test part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tenfold.data import Source
from tenfold.study.model import Model
from tenfold.study.outputs import for_metrics
from tenfold.study.scoring import in_units_of
from tenfold.tasks import metric_differences
from tenfold.tasks.supervised import SupervisedTask


def score_gain(
    model: Model, single: Model, outputs: Tensor, source: Source, rows: Any, task: SupervisedTask, seed: int
) -> dict[str, Any]:
    """The gain of a model over one of its networks alone, both on the same rows.

    Args:
        model: of several networks.
        single: the best of them by the validation part.
        outputs: what the model says of the rows.
        source: what was read.
        rows: of the test part.
        task: in the units of the model's encoder, with one metric.
        seed: of the resamples.

    Returns:
        "networks", "metric"; "value", "low", "high", "n": the model's metric minus the single network's, paired by
        sample; "model", "single": the two.
    """
    targets = torch.as_tensor(model.encoder.encode(source.targets[rows]))
    alone = in_units_of(model.encoder, single, single.outputs_on(source.inputs.take(rows)).numpy())
    said = [for_metrics(model.encoder, own, targets) for own in (outputs, torch.from_numpy(alone))]
    [(name, gain)] = metric_differences(task, said[0], said[1], targets, seed=seed).items()
    values = [float(task.measure(own[None], targets)[name]) for own in said]
    return {"networks": len(model.parts), "metric": name, **gain, "model": values[0], "single": values[1]}
