"""A run's trials in Optuna's SQLite storage, so that optuna-dashboard opens them while the run goes on.

The mirror is for looking at: the truth of a run are its own records, and no state of this file ends a run.
Trials are appended when they are finished or have left; Optuna numbers them in that order, and the run's own
number is the user attribute "trial".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tenfold.tuning.bulk import FOREIGN_SCHEMA, add_trials_at_once
from tenfold.tuning.quiet import quiet_optuna

LOCK_TIMEOUT_S = 2.0
_NEVER_FATAL = (optuna.exceptions.OptunaError, SQLAlchemyError, OSError, RuntimeError, ValueError, TypeError)
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "fail": TrialState.FAIL}


@dataclass(frozen=True, kw_only=True)
class MirrorTrial:
    """One trial that trains no more.

    Attributes:
        number: the run's number of the trial.
        state: "complete", "pruned" (left at a rung) or "fail" (its loss was not finite).
        value: the metric; not finite or None makes a complete trial a failed one, as Optuna demands.
        params: Optuna's parameter names and values, as in `Draw`.
        distributions: the distribution of each.
        intermediate: the metric at each epoch, epochs counted from 1; NaN is kept.
        user_attrs: anything JSON can carry: network, stack, constants.
        started: local time, now if None.
        ended: local time, now if None.

    Raises:
        ValueError: the state has no such name.
    """

    number: int
    state: str
    value: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    distributions: Mapping[str, optuna.distributions.BaseDistribution] = field(default_factory=dict)
    intermediate: Mapping[int, float] = field(default_factory=dict)
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    started: datetime | None = None
    ended: datetime | None = None

    def __post_init__(self) -> None:
        if self.state not in _STATES:
            raise ValueError(
                f"MirrorTrial: state must be one of {tuple(_STATES)}, got {self.state!r}. "
                "Leave trials out that are still in training."
            )


class OptunaMirror:
    """One study in one SQLite file, with this object as its only writer.

    Nothing is touched before the first `sync`.

    Args:
        path: the file, usually `study.db` in the run folder; made when missing. Or the URL of any database that
            SQLAlchemy reaches, such as "mysql://user@host/studies".
        study_name: the study's name in it.
        direction: "maximize" or "minimize".

    Raises:
        ValueError: the direction has no such name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mirror = OptunaMirror(Path(folder) / "study.db", "flowers", "maximize")
        ...     mirror.sync([MirrorTrial(number=0, state="complete", value=0.9)])
        ...     mirror.close()
    """

    def __init__(self, path: str | Path, study_name: str, direction: str) -> None:
        if direction not in ("maximize", "minimize"):
            raise ValueError(
                f"OptunaMirror: direction must be 'maximize' or 'minimize', got {direction!r}. Choose one."
            )
        self.path = path if isinstance(path, str) and "://" in path else Path(path)
        self.study_name = study_name
        self.direction = direction
        self._storage: optuna.storages.RDBStorage | None = None
        self._stored: set[int] = set()

    def sync(self, trials: Sequence[MirrorTrial]) -> str | None:
        """Appends those trials that are not there yet, all in one transaction.

        May be called with all trials every time, and again after a resume.

        Args:
            trials: finished ones and those that left.

        Returns:
            None, or a sentence for the user's log when the file could not be written: it is locked,
            read-only, torn or of another run. The next call tries again with what is missing.
        """
        try:
            with quiet_optuna():
                storage = self._storage or self._open()
                missing = {trial.number: trial for trial in trials if trial.number not in self._stored}
                self._append(storage, [_frozen(trial) for trial in missing.values()])
        except (
            optuna.exceptions.OptunaError,
            SQLAlchemyError,
            OSError,
            RuntimeError,
            ValueError,
            TypeError,
        ) as error:
            self.close()
            return _sentence(self.path, error)
        self._stored.update(missing)
        return None

    def holds(self, number: int) -> bool:
        """Whether a trial is there."""
        return number in self._stored

    def close(self) -> None:
        """Lets go of the file; the next `sync` opens it again."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage = None

    def _open(self) -> optuna.storages.RDBStorage:
        storage = (
            optuna.storages.RDBStorage(self.path)
            if isinstance(self.path, str)
            else optuna.storages.RDBStorage(
                f"sqlite:///{self.path}", engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_S}}
            )
        )
        self._storage = storage
        study = optuna.create_study(
            storage=storage,
            study_name=self.study_name,
            direction=StudyDirection[self.direction.upper()],
            load_if_exists=True,
        )
        if study.direction.name.lower() != self.direction:
            raise RuntimeError(f"its study {self.study_name!r} has the direction {study.direction.name.lower()}")
        self._stored = {trial.user_attrs.get("trial", -1) for trial in study.get_trials(deepcopy=False)}
        return storage

    def _append(self, storage: optuna.storages.RDBStorage, trials: list[FrozenTrial]) -> None:
        if not trials:
            return
        try:
            add_trials_at_once(storage, self.study_name, trials)
        except FOREIGN_SCHEMA:
            optuna.load_study(study_name=self.study_name, storage=storage).add_trials(trials)


def _frozen(trial: MirrorTrial) -> FrozenTrial:
    state, value = _STATES[trial.state], trial.value
    if state == TrialState.PRUNED and value is None and trial.intermediate:
        value = trial.intermediate[max(trial.intermediate)]  # as Study.tell does
    usable = value is not None and math.isfinite(value)
    if state == TrialState.COMPLETE and not usable:
        state = TrialState.FAIL
    frozen = optuna.trial.create_trial(
        state=state,
        value=value if usable and state != TrialState.FAIL else None,
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        intermediate_values=dict(trial.intermediate),
        user_attrs={**trial.user_attrs, "trial": trial.number},
    )
    frozen.datetime_complete = trial.ended or frozen.datetime_complete
    frozen.datetime_start = trial.started or frozen.datetime_complete
    return frozen


def _sentence(path: Path | str, error: Exception) -> str:
    """One line: what could not be written, why, and that the run goes on."""
    cause: BaseException = error.__cause__ or error
    reason = str(getattr(cause, "orig", None) or cause).splitlines()[0].rstrip(".")
    return (
        f"{path}: the Optuna storage was not updated ({reason}). "
        "The run goes on and loses nothing; close what holds the file, or delete it, and it is filled again."
    )
