"""Rules: single torch functions replaced, inside `Stack.each`, by a faster or a missing stacked form.

A rule is an ordinary function of one member's tensors with the signature of what it replaces; under vmap those
tensors carry the hidden member axis (`at_once` gives a rule the tensors of all members instead). To add one, write
the function in the file of its kind and put it into that file's table:

* `RANDOM` rules hold in every form, stacked or one by one: they draw from the member's own streams, which is what
  makes a member alone and a member among others agree. (So do the few that refuse what no form can do, or keep one
  member from stopping the others; and so does pooling, which gives the same numbers in every way.)
* `STACKED` rules are about speed, or about what vmap lacks, and hold under vmap alone.
"""

from typing import Any

from tenfold.stacking.rules.activations import ACTIVATIONS
from tenfold.stacking.rules.attention import ATTENTION
from tenfold.stacking.rules.batches import BATCHES
from tenfold.stacking.rules.convolution import CONVOLUTIONS
from tenfold.stacking.rules.dense import DENSE
from tenfold.stacking.rules.draws import DRAWN_IN_TURN, DRAWS, EMPTY
from tenfold.stacking.rules.dropout import DROPOUT
from tenfold.stacking.rules.embedding import EMBEDDINGS
from tenfold.stacking.rules.looped import LOOPED
from tenfold.stacking.rules.losses import LOSSES
from tenfold.stacking.rules.mode import OPENED, Rule, Rules
from tenfold.stacking.rules.norms import NORMS
from tenfold.stacking.rules.pooling import POOLING
from tenfold.stacking.rules.recurrent import RECURRENT_ONE_BY_ONE, RECURRENT_STACKED
from tenfold.stacking.rules.tensors import GRADIENTS, SET_DATA, OneByOneError
from tenfold.stacking.rules.views import VIEWS
from tenfold.stacking.rules.watch import ModelWarning, watched

RANDOM: dict[Any, Rule] = {
    **DRAWS,
    **DROPOUT,
    **OPENED,
    **ATTENTION,
    **EMBEDDINGS,
    **RECURRENT_ONE_BY_ONE,
    **LOSSES,
    **SET_DATA,
    **POOLING,
}
STACKED: dict[Any, Rule] = {
    **DENSE,
    **EMPTY,
    **DRAWN_IN_TURN,
    **ACTIVATIONS,
    **NORMS,
    **CONVOLUTIONS,
    **BATCHES,
    **LOOPED,
    **RECURRENT_STACKED,
    **GRADIENTS,
    **VIEWS,
}

__all__ = ["RANDOM", "STACKED", "ModelWarning", "OneByOneError", "Rule", "Rules", "watched"]
