"""Contracts for what is plugged into tenfold: call them from a test of your own network or optimiser.

`check_alone_or_together`, `check_strangers`, `check_leaving_is_free` and `check_plain_out` hold a network, a loss
and a `Recipe` (an optimiser with a schedule) to the promises of the stack. Each raises an AssertionError with a
sentence, and needs no test framework.
"""

from tenfold.testing.alone import check_alone_or_together
from tenfold.testing.leaving import check_leaving_is_free
from tenfold.testing.plain_out import check_plain_out
from tenfold.testing.recipe import Recipe
from tenfold.testing.strangers import check_strangers

__all__ = [
    "Recipe",
    "check_alone_or_together",
    "check_leaving_is_free",
    "check_plain_out",
    "check_strangers",
]
