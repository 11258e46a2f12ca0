"""What went wrong with a trial, in words with a number: pure functions on its curves.

Losses are compared with what the best of the trials gained (its fall): a loss has no unit of its own, and a rise of
0.1 is nothing to one task and everything to another. A verdict is only given where the curve itself shows it; noise
is told from a trend as in `tenfold.statistics.diagnose_fit`. What a space has to do with it is in `edges.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tenfold.core.wording import plural
from tenfold.statistics import Curve, Remedy, diagnose_fit

RISE = 0.05  # of the best fall: a loss that rises so far in the beginning is no noise
MOVE = 0.05  # of the best fall: a loss that falls no further hardly moves
WORTH = 0.02  # of the best fall, or of the last validation loss: what counts as a change late in training
GAP = 10  # times what counts: training that is so much better than validation is no underfitting
FEWEST_EPOCHS = 4

DIVERGED = "diverged"
RATE_TOO_HIGH = "learning rate too high"
RATE_TOO_LOW = "learning rate too low"
RISES_LATE = "training cost rises late"
OVERFITTING = "overfitting"
UNDERFITTING = "underfitting"


@dataclass(frozen=True, kw_only=True)
class Course:
    """How the training of one trial went.

    Attributes:
        trial: its number.
        train_loss: the mean training loss of each epoch (or of each piece of one), not finite where it was sick.
        start_loss: the loss of the untrained network; None where it was not measured, then the first of `train_loss`
            stands for it.
        valid_loss: after each epoch the validation loss, of the same kind as the training loss; empty where there is
            none.
        config: its configuration; "lr" is read.
        is_complete: whether it trained for as long as it was to; underfitting is said of no other.
    """

    trial: int
    train_loss: Sequence[float]
    start_loss: float | None = None
    valid_loss: Sequence[float] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    is_complete: bool = True

    @property
    def start(self) -> float:
        """Where the training loss began; NaN where nothing is known."""
        if self.start_loss is not None:
            return float(self.start_loss)
        return float(self.train_loss[0]) if len(self.train_loss) else math.nan

    @property
    def fall(self) -> float:
        """How far the training loss came down, at least 0; 0 where nothing is known."""
        known = [loss for loss in self.train_loss if math.isfinite(loss)]
        return max(self.start - min(known), 0.0) if known and math.isfinite(self.start) else 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One thing that is to be said of a trial or of a space.

    Attributes:
        kind: what it is, such as "learning rate too high".
        sentence: the same with its numbers and, where there is one, what to do.
        number: the number that it stands on.
        trial: whom it concerns; None for the space.
        name: the parameter that it concerns, if any.
        next_range: the range to search next, if that is the answer.
    """

    kind: str
    sentence: str
    number: float
    trial: int | None = None
    name: str | None = None
    next_range: tuple[float, float] | None = None


def judge(courses: Sequence[Course]) -> list[Verdict]:
    """All that is to be said of the trials; of healthy ones nothing.

    May be called while they train. A trial that diverged gets no other verdict.

    Args:
        courses: of all trials of one question: the best of them is what the others are held against.

    Returns:
        Verdicts in the order of the courses.

    Example:
        >>> healthy = Course(trial=0, train_loss=[1.5, 0.8, 0.5, 0.4, 0.35, 0.33], config={"lr": 0.01})
        >>> slow = Course(trial=1, train_loss=[2.3, 2.3, 2.29, 2.29, 2.29, 2.28], config={"lr": 1e-6})
        >>> for verdict in judge([healthy, slow]):
        ...     print(verdict.sentence)
        trial 1: learning rate too low: the training loss falls by 0.02 in 6 epochs, by 1.17 in the best trial
        (lr 1e-06)
    """
    leader = max(courses, key=lambda course: course.fall, default=None)
    if leader is None:
        return []
    verdicts: list[Verdict] = []
    for course in courses:
        sick = _diverged(course)
        found = [sick] if sick else [_of_the_rate(course, leader), *_late(course, leader.fall)]
        verdicts += [verdict for verdict in found if verdict is not None]
    return verdicts


def by_kind(verdicts: Sequence[Verdict], num_trials: int) -> list[Verdict]:
    """One verdict a kind in place of one a trial: how many trials it concerns, and the first of them as an example.

    Args:
        verdicts: on trials, as `judge` gives them; those on the space come through as they are.
        num_trials: of how many trials they were chosen.

    Returns:
        Verdicts in the order in which their kinds first come; the number of one on trials is how many there are.

    Example:
        >>> bent = [Course(trial=t, train_loss=[1.0, 0.5, float("nan")], config={"lr": 1.0}) for t in (2, 5)]
        >>> for verdict in by_kind(judge(bent), 8):
        ...     print(verdict.sentence)
        diverged: 2 of 8 trials, such as trial 2: its training loss is not finite in epoch 3 of 3 (lr 1)
    """
    kinds: dict[tuple[str, str | None], list[Verdict]] = {}
    for verdict in verdicts:
        kinds.setdefault((verdict.kind, verdict.name), []).append(verdict)
    return [own[0] if own[0].trial is None else _together(own, num_trials) for own in kinds.values()]


def _together(own: Sequence[Verdict], num_trials: int) -> Verdict:
    first = own[0]
    told = first.sentence.removeprefix(f"trial {first.trial}: {first.kind}: ")
    such = "such as trial" if len(own) > 1 else "trial"
    sentence = f"{first.kind}: {len(own)} of {plural(num_trials, 'trial')}, {such} {first.trial}: {told}"
    return Verdict(kind=first.kind, sentence=sentence, number=len(own))


def _say(course: Course, kind: str, told: str, number: float) -> Verdict:
    rate = course.config.get("lr")
    told += f" (lr {rate:.4g})" if isinstance(rate, int | float) else ""
    return Verdict(kind=kind, sentence=f"trial {course.trial}: {kind}: {told}", number=number, trial=course.trial)


def _diverged(course: Course) -> Verdict | None:
    """The first epoch whose loss, in training or validation, is not finite."""
    for name, losses in (("training", course.train_loss), ("validation", course.valid_loss)):
        for epoch, loss in enumerate(losses, start=1):
            if not math.isfinite(loss):
                told = f"its {name} loss is not finite in epoch {epoch} of {len(losses)}"
                return _say(course, DIVERGED, told, epoch)
    return None


def _of_the_rate(course: Course, leader: Course) -> Verdict | None:
    """Whether the beginning of training says that the rate is too high or too low."""
    losses = course.train_loss
    if len(losses) < 2:
        return None
    first = losses[: max(2, len(losses) // 4)]
    best = leader.fall or abs(course.start)
    rise = max(first) - course.start
    if rise > RISE * best:
        told = f"the training loss rises from {course.start:.4g} to {max(first):.4g} in the first {len(first)} epochs"
        return _say(course, RATE_TOO_HIGH, told, rise)
    if len(losses) < FEWEST_EPOCHS or course.fall >= MOVE * best:
        return None
    told = f"the training loss falls by {course.fall:.3g} in {len(losses)} epochs, by {best:.3g} in the best trial"
    rate, best_rate = course.config.get("lr", 0.0), leader.config.get("lr", math.inf)
    if rate > best_rate:
        told += f", whose rate {best_rate:.4g} is lower: it rather jumped too far than not at all"
        return _say(course, RATE_TOO_HIGH, told, course.fall)
    return _say(course, RATE_TOO_LOW, told, course.fall)


def _late(course: Course, best_fall: float) -> list[Verdict]:
    """What the end of training says: cost that rises, over- and underfitting."""
    train = np.asarray(course.train_loss, dtype=float)
    if len(train) < FEWEST_EPOCHS or not best_fall > 0:
        return []
    at = np.arange(1, len(train) + 1)
    rising = _remedy("more regularisation", at, train, train, WORTH * best_fall)
    if rising is not None:
        told = f"the training loss ends {rising.gain:.3g} above its best, {rising.basis}"
        return [_say(course, RISES_LATE, told, rising.gain)]
    valid = np.asarray(course.valid_loss, dtype=float)
    if len(valid) != len(train) or not valid[-1] > 0:
        return []
    worth = WORTH * float(valid[-1])
    fall = _remedy("more regularisation", at, train, valid, worth)
    if fall is not None:
        told = f"the validation loss ends {fall.gain:.3g} above its best, {fall.basis}, while that of training falls"
        return [_say(course, OVERFITTING, told, fall.gain)]
    more = _remedy("train longer", at, train, valid, worth)
    if more is None or not course.is_complete or valid[-1] - train[-1] > GAP * worth:
        return []
    told = f"the validation loss would fall by {more.gain:.3g}, {more.basis}, and training is not ahead of it"
    return [_say(course, UNDERFITTING, told, more.gain)]


def _remedy(name: str, at: np.ndarray, train: np.ndarray, valid: np.ndarray, worth: float) -> Remedy | None:
    """What a remedy would gain, where that is worth while and no noise."""
    curve = Curve(at=at, train=train, valid=valid)
    remedies = diagnose_fit(direction="minimize", min_gain=worth, epochs=curve).remedies
    return next((r for r in remedies if r.name == name and r.gain > worth and not r.low <= 0), None)
