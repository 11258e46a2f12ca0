"""Questions and their answers: `fit` finds a good model and keeps it in a run folder; `Run` is that folder.

`FitOptions` lists what can be asked for, `load` gives a run's final `Model`, which predicts on raw inputs.
"""

from tenfold.study.fit import Listener, fit
from tenfold.study.model import Model, ModelPart, load
from tenfold.study.options import FitOptions
from tenfold.study.run import Best, Run

__all__ = ["Best", "FitOptions", "Listener", "Model", "ModelPart", "Run", "fit", "load"]
