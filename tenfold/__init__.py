"""tenfold trains many sibling PyTorch networks as one program.

The core, for anyone with a model and a loop of their own: `stack`, `per_member`, `optim`. The questions: `fit`;
`load` gives a run's model back. The parts a search space is made of: `Float`, `Int`, `Categorical`.
"""

from tenfold import optim
from tenfold.core.errors import InputError, RunError, StackError, TenfoldError
from tenfold.stacking import Stack, group_by_structure, member_streams, per_member, stack
from tenfold.study import Model, Run, fit, load
from tenfold.tuning import Categorical, Float, Int, Space

__version__ = "0.1.0"

__all__ = [
    "Categorical",
    "Float",
    "InputError",
    "Int",
    "Model",
    "Run",
    "RunError",
    "Space",
    "Stack",
    "StackError",
    "TenfoldError",
    "__version__",
    "fit",
    "group_by_structure",
    "load",
    "member_streams",
    "optim",
    "per_member",
    "stack",
]
