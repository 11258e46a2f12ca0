"""Contracts for what is plugged into tenfold: call them from a test of your own network or optimiser.

Each holds a network, a loss and a `Recipe` (an optimiser with a schedule) to a promise of the stack:
`check_alone_or_together`, `check_permutation`, `check_strangers`, `check_leaving_is_free`,
`check_leaving_on_the_way`, `check_saving` and `check_plain_out`. Each raises an AssertionError with a sentence, and
needs no test framework. `network_job` gives a registered network with a batch and a loss. `check_sampler` holds a
sampler to what a search relies on.
"""

from tenfold.testing.alone import check_alone_or_together
from tenfold.testing.leaving import check_leaving_is_free
from tenfold.testing.networks import network_job
from tenfold.testing.on_the_way import check_leaving_on_the_way
from tenfold.testing.permutation import check_permutation
from tenfold.testing.plain_out import check_plain_out
from tenfold.testing.poisons import POISONS
from tenfold.testing.recipe import Recipe
from tenfold.testing.samplers import check_sampler, sampler_spaces
from tenfold.testing.saved import check_saving
from tenfold.testing.strangers import check_strangers

__all__ = [
    "POISONS",
    "Recipe",
    "check_alone_or_together",
    "check_leaving_is_free",
    "check_leaving_on_the_way",
    "check_permutation",
    "check_plain_out",
    "check_sampler",
    "check_saving",
    "check_strangers",
    "network_job",
    "sampler_spaces",
]
