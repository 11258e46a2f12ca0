"""What a network costs, what it sees, and what its training suffers from; works on any module.

`inspect_module` gives an `Inspection`: layers with output shapes, parameters, FLOPs, activation memory and receptive
fields. `effective_field` measures by the gradient which pixels count. `watch` takes a few training steps with a copy
and `find` says in sentences what is wrong with them. Nothing here knows of runs or of the zoo.
"""

from tenfold.diagnosis.effective_field import EffectiveField, effective_field
from tenfold.diagnosis.findings import Finding, find
from tenfold.diagnosis.inspection import Inspection, inspect_module
from tenfold.diagnosis.layers import Layer
from tenfold.diagnosis.receptive_field import ReceptiveField
from tenfold.diagnosis.showing import as_text
from tenfold.diagnosis.tracing import without_numbers
from tenfold.diagnosis.watching import Health, watch

__all__ = [
    "EffectiveField",
    "Finding",
    "Health",
    "Inspection",
    "Layer",
    "ReceptiveField",
    "as_text",
    "effective_field",
    "find",
    "inspect_module",
    "watch",
    "without_numbers",
]
