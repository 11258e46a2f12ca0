"""What the members of a question share: the frozen first part of their networks, computed once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from tenfold.core.errors import RunError
from tenfold.core.records import MemberId
from tenfold.core.task import Batch
from tenfold.study.material import Material, cohort_data
from tenfold.train import CohortData, Cut, FrozenPrefix, MemberSpec, rest_spec, split_off_prefix


class Shared(NamedTuple):
    """A prefix that all members share, and what they train on in place of samples.

    Attributes:
        prefix: the first part of their models.
        data: batches of its features.
        device: where it is.
        known: members that were cut before, with their rests: cutting one takes some 20 ms for a ResNet-18.
    """

    prefix: FrozenPrefix
    data: CohortData
    device: torch.device
    known: dict[MemberId, tuple[MemberSpec, MemberSpec]]

    def rests_of(self, specs: Sequence[MemberSpec]) -> list[MemberSpec]:
        """Members that train what follows the prefix.

        Raises:
            RunError: a member's model begins with another frozen part.
        """
        rests = []
        for spec in specs:
            rest = self._rest_of(spec)
            if rest is None:
                raise RunError(
                    f"trial {spec.id.trial}: the frozen first part of its network must be that of the trials before "
                    "it, whose features the run trains on, and is another one. Search networks with frozen parts "
                    "of their own one at a time, or with --no-sharing."
                )
            rests.append(rest)
        return rests

    def _rest_of(self, spec: MemberSpec) -> MemberSpec | None:
        whole, rest = self.known.get(spec.id, (None, None))
        if whole is not None and rest is not None and _is_same(whole, spec):
            return replace(rest, step=spec.step, begins_at=spec.begins_at)
        return rest_spec(spec, self.prefix, self.device)

    def is_of(self, spec: MemberSpec) -> bool:
        """Whether a member's model begins with the prefix."""
        return rest_spec(spec, self.prefix, self.device) is not None

    def describe(self) -> str:
        """One sentence for the user."""
        path, start = self.prefix.cut
        where = f"{path}.{start}".lstrip(".") if start is not None else path
        count = sum(parameter.numel() for parameter in self.prefix.module.parameters())
        return f"frozen: all members share what comes before {where!r} ({count:,} parameters), computed once for all"

    def to_json(self) -> list[Any]:
        """Where the models are cut, as plain JSON types."""
        return list(self.prefix.cut)


def _is_same(one: MemberSpec, other: MemberSpec) -> bool:
    """Whether two members are built and trained alike."""
    return (one.label, one.config, one.init_seed) == (other.label, other.config, other.init_seed)


def shared_by(
    specs: Sequence[MemberSpec],
    material: Material,
    seed: int,
    example: Batch,
    stored: Mapping[str, Any] | None,
    fractions: Sequence[float] = (),
) -> Shared | None:
    """The prefix that members share; None where there is none.

    Args:
        specs: the members.
        material: what they train on.
        seed: of the batches.
        example: a real training batch.
        stored: `run.json` of the run to go on with, which says where it was cut.
        fractions: of the training rows, for the steps of a ladder over the data.
    """
    inputs = example[:-1]
    if not all(isinstance(tensor, torch.Tensor) for tensor in inputs) or len(inputs[0]) < 2:
        return None
    cut = None
    if stored is not None:
        if not stored.get("shared"):
            return None
        cut = Cut(*stored["shared"])
    found = split_off_prefix(specs, inputs, cut)
    if found is None:
        return None
    prefix, rests = found
    known = {spec.id: (spec, rest) for spec, rest in zip(specs, rests, strict=True)}
    return Shared(prefix, cohort_data(material, seed, prefix.features, fractions), inputs[0].device, known)
