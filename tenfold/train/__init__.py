"""Training a cohort: members become stacks, stacks become lanes, lanes go through the batches together.

`plan_stacks` decides who stands together and in which form, `build_lane` makes them ready, `Cohort` trains them
and lets losers leave at rungs; `Checkpointer` saves what a resumed run needs. Nothing here knows a particular
task or network.
"""

from tenfold.train.checkpoint import Checkpointer
from tenfold.train.cohort import Clock, Cohort
from tenfold.train.cohort_parts import CohortData, Departure, Hooks, Progress
from tenfold.train.compiling import compile_where_it_pays, with_compiled_steps
from tenfold.train.frozen_prefix import Cut, FrozenPrefix, rest_spec, split_off_prefix
from tenfold.train.health import Illness
from tenfold.train.judging import Judge
from tenfold.train.known_plans import KnownPlans
from tenfold.train.lane import Lane, ProgramShelf
from tenfold.train.parked import Parked
from tenfold.train.plan import FormChoice, MemberSpec, PlannedStack
from tenfold.train.planner import build_lane, plan_stacks, predict_memory_bytes
from tenfold.train.recipe import RECIPE_KEYS, Recipe, SplitConfig, split_config
from tenfold.train.threads import num_threads, quickest_plan

__all__ = [
    "RECIPE_KEYS",
    "Checkpointer",
    "Clock",
    "Cohort",
    "CohortData",
    "Cut",
    "Departure",
    "FormChoice",
    "FrozenPrefix",
    "Hooks",
    "Illness",
    "Judge",
    "KnownPlans",
    "Lane",
    "MemberSpec",
    "Parked",
    "PlannedStack",
    "ProgramShelf",
    "Progress",
    "Recipe",
    "SplitConfig",
    "build_lane",
    "compile_where_it_pays",
    "num_threads",
    "plan_stacks",
    "predict_memory_bytes",
    "quickest_plan",
    "rest_spec",
    "split_config",
    "split_off_prefix",
    "with_compiled_steps",
]
