"""Questions and their answers, each in a run folder; `Run` is that folder.

`fit` finds a good model and keeps it; `search` asks which hyper-parameters; `cross_validate`, `replicate` and
`compare` say how good, how sure, and which.

`FitOptions` lists what can be asked for, `load` gives a run's final `Model`, which predicts on raw inputs.
"""

from tenfold.study.curves import learning_curve, width_curve
from tenfold.study.engine import framed_on
from tenfold.study.fit import fit
from tenfold.study.inspecting import inspect
from tenfold.study.job import Listener
from tenfold.study.lr_finder import RateTest, find_lr
from tenfold.study.model import Model, ModelPart, load
from tenfold.study.options import FitOptions
from tenfold.study.question import Question
from tenfold.study.run import Best, Run
from tenfold.study.search import search
from tenfold.study.search_options import SearchOptions
from tenfold.study.verbs import compare, cross_validate, replicate

__all__ = [
    "Best",
    "FitOptions",
    "Listener",
    "Model",
    "ModelPart",
    "Question",
    "RateTest",
    "Run",
    "SearchOptions",
    "compare",
    "cross_validate",
    "find_lr",
    "fit",
    "framed_on",
    "inspect",
    "learning_curve",
    "load",
    "replicate",
    "search",
    "width_curve",
]
