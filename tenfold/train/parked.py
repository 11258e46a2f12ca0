"""Members that stopped before the end and left their stack: their best weights and scores stay in the race."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tenfold.core.records import MemberId
from tenfold.train.judging import mean_by_trial
from tenfold.train.lane import Lane
from tenfold.tuning import promote


@dataclass(frozen=True, kw_only=True)
class Parked:
    """A member that has stopped.

    Attributes:
        id: who.
        score: its best.
        epoch: the epoch of that score.
        model: a plain module with the weights of that epoch, in evaluation mode.
    """

    id: MemberId
    score: float
    epoch: int
    model: nn.Module

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        tensors = (*self.model.named_parameters(), *self.model.named_buffers())
        return {
            "id": [self.id.trial, self.id.fold, self.id.seed],
            "score": self.score,
            "epoch": self.epoch,
            "tensors": {name: tensor.detach() for name, tensor in tensors},
        }


def stopped_trials(lanes: Iterable[Lane]) -> set[int]:
    """The trials all of whose members have stopped."""
    trials: dict[bool, set[int]] = {True: set(), False: set()}
    for lane in lanes:
        for member, has_stopped in zip(lane.ids, lane.is_stopped_M.tolist(), strict=True):
            trials[has_stopped].add(member.trial)
    return trials[True] - trials[False]


def park(
    parked: Sequence[Parked], lanes: Iterable[Lane], trials: set[int], most: int | None, direction: str
) -> list[Parked]:
    """Who is parked when the members of some trials leave their stacks; models are made of those alone that stay.

    Args:
        parked: who is parked so far.
        lanes: the stacks.
        trials: those that leave.
        most: how many trials may stay, the best ones; None for all. A trial is worth the mean of its members' scores.
        direction: of the scores.
    """
    leaving = [
        (lane, place, member) for lane in lanes for place, member in enumerate(lane.ids) if member.trial in trials
    ]
    scores = {own.id: own.score for own in parked}
    for lane, place, member in leaving:
        scores[member] = math.nan if bool(lane.is_sick_M[place]) else float(lane.best_score_M[place])
    kept = {member.trial for member in scores}
    if most is not None:
        kept = set(promote(mean_by_trial(scores), most, direction))
    fresh = [
        Parked(id=member, score=scores[member], epoch=int(lane.best_epoch_M[place]), model=lane.best_model(place))
        for lane, place, member in leaving
        if member.trial in kept
    ]
    return [own for own in parked if own.id.trial in kept] + fresh


def parked_from(states: Sequence[Mapping[str, Any]], lanes: Sequence[Lane]) -> list[Parked]:
    """Parked members from a checkpoint; their models are those of lanes that hold all members from the beginning."""
    places = {member: (lane, place) for lane in lanes for place, member in enumerate(lane.ids)}
    parked = []
    for state in states:
        trial, fold, seed = state["id"]
        member = MemberId(trial=trial, fold=fold, seed=seed)
        lane, place = places[member]
        model = lane.present_model(place)
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.copy_(state["tensors"][name])
        parked.append(Parked(id=member, score=state["score"], epoch=state["epoch"], model=model))
    return parked
