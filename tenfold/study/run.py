"""A run as its user meets it: the chosen model, the leaderboard, predictions, the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from tenfold.core.errors import InputError
from tenfold.data import read
from tenfold.data.tables import TargetColumns
from tenfold.report import leaderboard, load_run, write_report
from tenfold.study.model import Model, load
from tenfold.study.options import Network
from tenfold.study.run_folder import read_info
from tenfold.study.scoring import score_outputs
from tenfold.tasks import task_from


@dataclass(frozen=True, kw_only=True)
class Best:
    """The chosen trial.

    Attributes:
        trial: its number.
        network: its network's name.
        config: its configuration.
        model: its network with the final weights, a plain module in evaluation mode.
    """

    trial: int
    network: str
    config: dict[str, Any]
    model: nn.Module


class Run:
    """A question that was answered, in its folder.

    Args:
        path: the run folder.
        networks: the user's own networks, if the run used some.

    Raises:
        RunError: the folder holds no run.
    """

    def __init__(self, path: str | Path, networks: Sequence[Network] = ()) -> None:
        self.path = Path(path)
        self._networks = [network for network in networks if callable(network)]
        self.info = read_info(self.path)

    @property
    def result(self) -> dict[str, Any]:
        """The answer in numbers: what `--json` prints."""
        return self.info["result"]

    @cached_property
    def model(self) -> Model:
        """The final model; predicts on raw inputs."""
        return load(self.path, network=self._networks)

    @property
    def best(self) -> Best:
        """The chosen trial with its network."""
        chosen = self.result["best"]
        return Best(
            trial=chosen["trial"], network=chosen["network"], config=chosen["config"], model=self.model.module
        )

    def leaderboard(self) -> pd.DataFrame:
        """One row a trial and baseline, best first."""
        return leaderboard(load_run(self.path))

    def predict(self, x: Any) -> np.ndarray:
        """A label or value for each sample; `x` is raw: a path, a DataFrame, arrays."""
        return self.model.predict(x)

    def predict_proba(self, x: Any, *, calibrated: bool = False) -> np.ndarray:
        """A probability for each sample and class or label; see `Model.predict_proba`."""
        return self.model.predict_proba(x, calibrated=calibrated)

    def evaluate(
        self,
        data: Any,
        *,
        target: TargetColumns = None,
        header: bool | None = None,
        encoding: str | None = None,
    ) -> dict[str, Any]:
        """Every metric with its interval on other data with known targets.

        Args:
            data: as in `fit`; all its rows are scored.
            target: the target column, where it is called otherwise than in training. It is looked for by its name,
                wherever it stands.
            header: whether a table's first row holds names; by default what it looks like.
            encoding: of a table's text, as Python names it; by default what it looks like.

        Raises:
            InputError: the data cannot be read, or a label is none of the model's classes.
        """
        model = self.model
        target = own_target(model, data) if target is None else target
        of_masks: dict[str, Any] = {}
        if model.encoder.codes is not None:
            of_masks = {"codes": model.encoder.codes, "image_size": model.preprocessor.spec.shape[1:]}
        how: dict[str, Any] = {"header": header, "encoding": encoding}
        source = read(data, target=target, task=self.info["task"], to_score=True, **how, **of_masks)
        inputs = model.read(data, **how).inputs
        if source.rows is not None and source.rows[-1] < len(inputs):
            inputs = inputs.take(source.rows)  # without those that have no target
        if len(inputs) != len(source.targets):
            raise InputError(
                f"{source.name}: {len(source.targets)} targets and {len(inputs)} readable inputs do not match. "
                "Remove rows without a target and unreadable files."
            )
        outputs = model.outputs_on(inputs)
        task = task_from(model.encoder)
        return score_outputs(task, model.encoder, outputs, model.encoder.encode(source.targets), self.info["seed"])

    def report(self) -> Path:
        """Writes `report.html` anew, and returns its path."""
        return write_report(self.path)

    def __repr__(self) -> str:
        result = self.info.get("result") or {}
        if not result:
            return f"Run({str(self.path)!r}, {self.info.get('status')})"
        test = result.get("test")
        scored = f", test {result['metric']} {test['value']:.4g} (n = {test['n']})" if test else ""
        return f"Run({str(self.path)!r}, {result['best']['network']}, trial {result['best']['trial']}{scored})"

    def _repr_html_(self) -> str:
        """The run in a notebook: the answer and the head of the leaderboard."""
        frame = self.leaderboard()
        columns = [name for name in ("rank", "name", "valid", "test", "epochs", "chosen") if name in frame]
        return f"<p><b>{self!r}</b></p>" + frame[columns].head(10).to_html(index=False)


def own_target(model: Model, data: Any) -> TargetColumns:
    """The target column that a model was trained for, where data may have columns; None where they have none.

    Args:
        model: of a run.
        data: as in `fit`.
    """
    names = getattr(model.preprocessor, "target_names", ()) if _has_columns(data) else ()
    return list(names) if len(names) > 1 else next(iter(names), None)


def _has_columns(data: Any) -> bool:
    """Whether data may be a table with its target among the columns."""
    if isinstance(data, str | Path):
        return Path(data).suffix.lower() != ".npz"
    return isinstance(data, pd.DataFrame)
