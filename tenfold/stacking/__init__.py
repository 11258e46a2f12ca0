"""The member axis: many models of one structure as one program.

`stack` makes a `Stack`; `Stack.each`, `backward`, `keep` and `unstack` are all there is to it. `structure.py`
says who may stand together, `forms.py` how a function runs for all, `rules.py` which torch functions have a
stacked form of their own, `streams.py` where a member's random numbers come from, `layout.py` how it all lies
in memory. `Replay` predicts, call after call, without the work of mapping; `GradientReplay` trains so.
"""

from tenfold.stacking.forms import PerMember, per_member
from tenfold.stacking.gradients import GradientReplay, part_losses
from tenfold.stacking.replay import Replay
from tenfold.stacking.rules import ModelWarning
from tenfold.stacking.stack import ForgottenAttributeWarning, Form, SerialFallbackWarning, Stack, stack, stack_of
from tenfold.stacking.streams import MemberStreams, member_streams
from tenfold.stacking.structure import first_difference, group_by_structure, structure_of

__all__ = [
    "ForgottenAttributeWarning",
    "Form",
    "GradientReplay",
    "MemberStreams",
    "ModelWarning",
    "PerMember",
    "Replay",
    "SerialFallbackWarning",
    "Stack",
    "first_difference",
    "group_by_structure",
    "member_streams",
    "part_losses",
    "per_member",
    "stack",
    "stack_of",
    "structure_of",
]
