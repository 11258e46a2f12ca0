"""From a search space to members: the default space, the draws, and what builds each member's network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from tenfold.core.errors import InputError, did_you_mean
from tenfold.core.records import MemberId
from tenfold.core.specs import InputSpec
from tenfold.networks import build_network, merge_network_spaces
from tenfold.study.options import FitOptions, Network
from tenfold.train import MemberSpec, split_config
from tenfold.tuning import Categorical, Constant, Draw, Space, optimizer_space


def default_space(networks: Mapping[str, Network], batch_size: int) -> Space:
    """The space that is searched when the user gives none: the networks' own and the optimiser's."""
    zoo = [name for name, network in networks.items() if isinstance(network, str)]
    own = [name for name in networks if name not in zoo]
    if zoo and not own:
        space = merge_network_spaces(zoo)
    else:
        choice = Constant(own[0]) if len(networks) == 1 else Categorical(tuple(networks), reason="asked for")
        space = Space({"network": choice})
    size = Constant(batch_size, reason="leaves an epoch some hundreds of steps; members of one size share batches")
    return space | optimizer_space() | {"batch_size": size}


def make_space(options: FitOptions, networks: Mapping[str, Network], batch_size: int) -> Space:
    """The user's space over the default one; what the user's names is taken from it."""
    space = default_space(networks, batch_size)
    if options.space is None:
        return space
    return space | (options.space if isinstance(options.space, Space) else Space(options.space))


def member_specs(
    draws: list[Draw],
    networks: Mapping[str, Network],
    spec: InputSpec,
    num_outputs: int,
    task_values: Mapping[str, float],
    seed: int,
) -> list[MemberSpec]:
    """One member for each draw, on one fold and one seed."""
    return [make_member(draw.number, draw.config, networks, spec, num_outputs, task_values, seed) for draw in draws]


def make_member(
    trial: int,
    config: Mapping[str, Any],
    networks: Mapping[str, Network],
    spec: InputSpec,
    num_outputs: int,
    task_values: Mapping[str, float],
    seed: int,
) -> MemberSpec:
    """The member that trains one configuration.

    Raises:
        InputError: the configuration names a network that was not asked for.
    """
    parts = split_config(config, task_values)
    name = config["network"]
    if name not in networks:
        raise InputError(
            f"space: network must be one that --network names, got {name!r}.{did_you_mean(name, networks)}"
        )
    network = networks[name]
    build: Any
    if isinstance(network, str):
        build = partial(build_network, network, spec, num_outputs, **parts.network)
    else:
        build = partial(_call_own, network, dict(parts.network))
    settings = " ".join(f"{key}={value}" for key, value in parts.network.items())
    return MemberSpec(
        id=MemberId(trial=trial, seed=seed), label=f"{name} {settings}".strip(), config=parts, build=build
    )


def _call_own(network: Any, config: dict[str, Any]) -> nn.Module:
    model = network(**config)
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"network: {getattr(network, '__name__', network)}(...) must return an nn.Module, got "
            f"{type(model).__name__}. Return the model itself."
        )
    return model
