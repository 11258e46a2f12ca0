"""Search spaces, draws from them, successive halving, and the mirror in Optuna's storage, on plain values.

Parameters (`Float`, `Int`, `Categorical`, `Constant`) make a `Space`; `choice_space` joins the spaces of
several networks or optimisers, `optimizer_space` is the default one. A `Proposer` asks a sampler of `SAMPLERS`
for configurations, batch by batch, and tells it what became of them; `draw` is its first ask alone.
`successive_halving_rungs` and `promote` say who goes on; `HALVINGS` has the stopping rules by name (none, successive,
hyperband, median, curve), `forecast` says where a curve will end, and `make_ladder` puts
fractions of the data or scales of a model in the place of epochs. `judge` and `on_the_edge` say in words what is
wrong with a trial or with the range it was drawn from. `OptunaMirror` writes trials where optuna-dashboard looks.
"""

from tenfold.tuning.choice import choice_space
from tenfold.tuning.constraints import Constraint
from tenfold.tuning.curve_stopping import CurveStopping
from tenfold.tuning.defaults import optimizer_space
from tenfold.tuning.drawing import draw
from tenfold.tuning.edges import on_the_edge
from tenfold.tuning.forecasting import Forecast, forecast
from tenfold.tuning.front import front
from tenfold.tuning.grid import Grid
from tenfold.tuning.halving import Rung, promote, successive_halving_rungs
from tenfold.tuning.hyperband import Bracket, Halving, hyperband_brackets
from tenfold.tuning.ladder import Ladder, data_fractions, make_ladder
from tenfold.tuning.listing import format_space
from tenfold.tuning.median import MedianStopping
from tenfold.tuning.parameters import Categorical, Constant, Float, Int, Parameter
from tenfold.tuning.proposals import Draw, Proposer
from tenfold.tuning.rates import RateAdvice, advise_rates
from tenfold.tuning.samplers import SAMPLERS, SamplerEntry
from tenfold.tuning.space import Space
from tenfold.tuning.stopping import HALVINGS, NoStopping, StoppingRule
from tenfold.tuning.storage import MirrorTrial, OptunaMirror
from tenfold.tuning.verdicts import Course, Verdict, by_kind, judge

__all__ = [
    "HALVINGS",
    "SAMPLERS",
    "Bracket",
    "Categorical",
    "Constant",
    "Constraint",
    "Course",
    "CurveStopping",
    "Draw",
    "Float",
    "Forecast",
    "Grid",
    "Halving",
    "Int",
    "Ladder",
    "MedianStopping",
    "MirrorTrial",
    "NoStopping",
    "OptunaMirror",
    "Parameter",
    "Proposer",
    "RateAdvice",
    "Rung",
    "SamplerEntry",
    "Space",
    "StoppingRule",
    "Verdict",
    "advise_rates",
    "by_kind",
    "choice_space",
    "data_fractions",
    "draw",
    "forecast",
    "format_space",
    "front",
    "hyperband_brackets",
    "judge",
    "make_ladder",
    "on_the_edge",
    "optimizer_space",
    "promote",
    "successive_halving_rungs",
]
