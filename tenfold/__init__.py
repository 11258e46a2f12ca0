"""tenfold trains many sibling PyTorch networks as one program.

The core, for anyone with a model and a loop of their own: `stack`, `per_member`, `optim`. The questions: `fit`,
`load`. The parts a search space is made of: `Float`, `Int`, `Categorical`.
"""

from tenfold import optim
from tenfold.stacking import Stack, group_by_structure, member_streams, per_member, stack

__version__ = "0.1.0"

__all__ = ["Stack", "__version__", "group_by_structure", "member_streams", "optim", "per_member", "stack"]
