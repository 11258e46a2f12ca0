"""tenfold trains many sibling PyTorch networks as one program.

The core, for anyone with a model and a loop of their own: `stack`, `per_member`, `optim`. The questions: `fit`,
`cross_validate`, `replicate` and `compare`; `load` gives a run's model back, `inspect` says what a network costs and
suffers from. The parts a search space is made of: `Float`, `Int`, `Categorical`.

The core is imported at once, the questions when they are first asked for: that is 1.2 s against 4 s.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tenfold import optim
from tenfold.core.errors import InputError, RunError, StackError, TenfoldError
from tenfold.stacking import Stack, group_by_structure, member_streams, per_member, stack

if TYPE_CHECKING:
    from tenfold.study.curves import learning_curve, width_curve
    from tenfold.study.fit import fit as fit
    from tenfold.study.inspecting import inspect
    from tenfold.study.lr_finder import find_lr
    from tenfold.study.model import Model, load
    from tenfold.study.run import Run
    from tenfold.study.search import search as search
    from tenfold.study.verbs import compare, cross_validate, replicate
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
    "compare",
    "cross_validate",
    "find_lr",
    "fit",
    "group_by_structure",
    "inspect",
    "learning_curve",
    "load",
    "member_streams",
    "optim",
    "per_member",
    "replicate",
    "search",
    "stack",
    "width_curve",
]

_ROOMS = {
    **dict.fromkeys(
        (
            "Model",
            "Run",
            "compare",
            "cross_validate",
            "find_lr",
            "fit",
            "inspect",
            "learning_curve",
            "load",
            "replicate",
            "search",
            "width_curve",
        ),
        "tenfold.study",
    ),
    **dict.fromkeys(("Categorical", "Float", "Int", "Space"), "tenfold.tuning"),
}


def __getattr__(name: str) -> Any:
    """Imports a room when one of its public names is first used."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'tenfold' has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
