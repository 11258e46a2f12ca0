"""`learning_curve` and `width_curve`: would more data help, or a larger network?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tenfold.core.errors import InputError
from tenfold.networks import NETWORKS
from tenfold.study.grid import ask_grid
from tenfold.study.job import Listener
from tenfold.study.options import Network
from tenfold.study.run import Run
from tenfold.study.verbs import grid_options

SIZES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
WIDTHS = (8, 16, 32, 64, 128, 256)


def learning_curve(
    network: Network | None,
    data: Any,
    *,
    sizes: Sequence[float] = SIZES,
    seeds: int = 3,
    config: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **more: Any,
) -> Run:
    """The score against the number of training rows, all sizes and seeds as one cohort: would more data help?

    Smaller training sets are parts of larger ones, with the classes in proportion, and all are scored on the same
    validation rows. Every training takes the same epochs, so that fewer rows mean fewer steps, with the schedule over
    its own steps.

    Args:
        network: a name of the zoo or a function `make_model(**config)`; None for what suits the data.
        data: as in `fit`.
        sizes: four or more: shares of the training rows, in (0, 1], or counts above 1.
        seeds: trainings of each size.
        config: values that differ from the defaults, such as {"lr": 0.003, "hidden": 128}.
        out: the run folder; `runs/<source>-<n>` by default.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        listener: hears what happens.
        **more: further options, such as target, metric, epochs, seed, valid_fraction.

    Returns:
        The run; `run.result["curve"]` holds the scores, the verdict and what twice the data would give.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs.

    Example:
        >>> import tenfold, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> run = tenfold.learning_curve("mlp", "iris", seeds=2, epochs=5, out=folder + "/iris")
        >>> run.result["curve"]["at"]
        [8.0, 15.0, 30.0, 60.0, 120.0]
    """
    more = {**more, "sizes": tuple(float(size) for size in sizes)}
    options = grid_options("learning_curve", network, config, more, seeds, "none")
    return ask_grid("learning-curve", data, options, out=out, resume=resume, overwrite=overwrite, listener=listener)


def width_curve(
    network: Network | None,
    data: Any,
    *,
    widths: Sequence[float] | None = None,
    parameter: str | None = None,
    seeds: int = 3,
    config: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **more: Any,
) -> Run:
    """The score against the width of a network, all widths and seeds as one cohort: would a larger one help?

    Args:
        network: a name of the zoo or a function `make_model(**config)`; None for "mlp".
        data: as in `fit`.
        widths: values of the parameter, two or more, rising; by default 8 to 256, or for a network of the zoo whose
            width is something else than "hidden" those of its ladder.
        parameter: of the configuration, which says the width (or the depth, or the rank). By default what the network
            calls its width: "hidden", or "width" of convolutional networks, which multiplies their channels.
        seeds: trainings of each width.
        config: further values, the same for all widths.
        out: the run folder; `runs/<source>-<n>` by default.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.
        listener: hears what happens.
        **more: further options, such as target, metric, epochs, seed, valid_fraction.

    Returns:
        The run; `run.result["curve"]` holds the scores and the verdict.

    Raises:
        InputError: the data or an option cannot be used.
        RunError: the run folder is not in the state the call needs.

    Example:
        >>> import tenfold, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> run = tenfold.width_curve("mlp", "iris", widths=(4, 8, 16), seeds=2, epochs=5, out=folder + "/iris")
        >>> run.result["curve"]["over"], run.result["curve"]["at"]
        ('hidden', [4.0, 8.0, 16.0])
    """
    usual_parameter, usual_widths = _usual_widths(network)
    parameter = parameter or usual_parameter
    listed = list(widths if widths is not None else usual_widths if parameter == usual_parameter else WIDTHS)
    if len(listed) < 2 or any(a >= b for a, b in pairwise(listed)):
        raise InputError(f"--widths must be two or more rising numbers, got {listed!r}. Write 16,64,256, say.")
    methods = {f"{parameter} {width}": (network or "mlp", {parameter: width}) for width in listed}
    more = {**more, "methods": methods, "curve_over": parameter}
    options = grid_options("width_curve", None, config, more, seeds, "none")
    return ask_grid("width-curve", data, options, out=out, resume=resume, overwrite=overwrite, listener=listener)


def _usual_widths(network: Network | None) -> tuple[str, Sequence[float]]:
    """What a network calls its width, and the widths that it is tried with."""
    entry = NETWORKS[network] if isinstance(network, str) and network in NETWORKS else None
    if entry is None or not entry.widths or entry.width_setting == "hidden":
        return "hidden", WIDTHS
    return entry.width_setting, entry.widths
