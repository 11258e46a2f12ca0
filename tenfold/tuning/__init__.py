"""Search spaces, draws from them, successive halving, and the mirror in Optuna's storage, on plain values.

Parameters (`Float`, `Int`, `Categorical`, `Constant`) make a `Space`; `choice_space` joins the spaces of
several networks or optimisers, `optimizer_space` is the default one. `draw` asks for configurations.
`successive_halving_rungs` and `promote` say who goes on. `OptunaMirror` writes trials where optuna-dashboard
looks.
"""

from tenfold.tuning.choice import choice_space
from tenfold.tuning.defaults import optimizer_space
from tenfold.tuning.drawing import SAMPLERS, Draw, draw
from tenfold.tuning.halving import Rung, promote, successive_halving_rungs
from tenfold.tuning.parameters import Categorical, Constant, Float, Int, Parameter
from tenfold.tuning.space import Space
from tenfold.tuning.storage import MirrorTrial, OptunaMirror

__all__ = [
    "SAMPLERS",
    "Categorical",
    "Constant",
    "Draw",
    "Float",
    "Int",
    "MirrorTrial",
    "OptunaMirror",
    "Parameter",
    "Rung",
    "Space",
    "choice_space",
    "draw",
    "optimizer_space",
    "promote",
    "successive_halving_rungs",
]
