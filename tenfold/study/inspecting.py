"""`tenfold.inspect`: a network of the zoo, of a run, of a user's file or a plain module, looked at from outside."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.core.errors import InputError, TenfoldError, did_you_mean
from tenfold.core.specs import InputSpec
from tenfold.core.task import MemberView
from tenfold.data import (
    Batches,
    DataPart,
    Preprocessor,
    Source,
    TargetEncoder,
    fit_preprocessor,
    read,
)
from tenfold.diagnosis import Inspection, find, inspect_module, watch, without_numbers
from tenfold.diagnosis.tracing import first_line, materialized
from tenfold.networks import NETWORKS, NetworkEntry, build_network
from tenfold.study.model import load
from tenfold.study.run import own_target
from tenfold.study.run_folder import read_info
from tenfold.tasks import task_from

Shape = Sequence[int] | str
Input = Shape | InputSpec | Tensor | tuple[Tensor, ...] | None

_IMAGE, _TABLE = (3, 32, 32), (16,)
_NUM_CLASSES = 10
_MOST_NUMBERS = 2**31  # 8 GiB


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network to be looked at, and what it is called with.

    Attributes:
        name: what it is called.
        model: the network; without numbers where only shapes are asked for.
        inputs: a batch of one sample.
        run: the run folder that it comes from, or None.
    """

    name: str
    model: nn.Module
    inputs: tuple[Tensor, ...]
    run: Path | None = None


def inspect(
    network: Any,
    *,
    input: Input = None,
    classes: int | None = None,
    config: Mapping[str, Any] | None = None,
    batches: Iterable[Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] | None = None,
    steps: int = 8,
    data: Any = None,
) -> Inspection:
    """What a network costs and sees, and with batches what its training suffers from.

    Args:
        network: a module; a function or class that makes one; a name from `tenfold.networks`; a run or its folder;
            or "module:callable", imported from the current directory.
        input: shape of one sample without the batch, such as (3, 224, 224) or "3x224x224"; a batch, or a tuple of
            them, for networks with several inputs. Networks of the zoo and of runs know a typical one.
        classes: number of outputs of a network of the zoo. Default: 10.
        config: arguments of a function, or settings of a network of the zoo.
        batches: of (*inputs, targets), one a training step, for the health of gradients.
        loss: of (outputs, targets), a mean over the batch. Default: cross-entropy.
        optimizer: makes one of parameters. Default: AdamW with a rate of 1e-3.
        steps: of training at most, taken by a copy.
        data: a source, as in `fit`, whose rows become the batches; for a run one like that it was trained on.

    Returns:
        An `Inspection`; print it, or ask for `.parameters`, `.flops`, `.receptive_field`, `.layers`, `.findings`.

    Raises:
        InputError: there is no such network, run or module, or it cannot be called with this input.
        RunError: a run has no finished model.

    Example:
        >>> inspect("resnet18", input="3x224x224", classes=1000).parameters
        11689512
        >>> seen = inspect(nn.Conv2d(64, 64, 3, padding=1, bias=False), input=(64, 480, 640))
        >>> seen.flops, str(seen.receptive_field)
        (22649241600, '3')
    """
    if data is not None and batches is not None:
        raise InputError("inspect: batches and data are two ways to say the same. Give one of them.")
    prepared = None if data is None else _prepared(network, data)
    if prepared is not None:
        batches, loss = prepared.batches(steps), prepared.loss()
        input = prepared.preprocessor.spec if input is None else input
        classes = prepared.encoder.num_outputs if classes is None else classes
    subject = subject_of(network, input, classes, config or {}, numbers=batches is not None)
    seen = inspect_module(subject.model, subject.inputs, name=subject.name)
    if batches is None:
        return seen
    health = watch(subject.model, batches, loss or F.cross_entropy, optimizer=optimizer, steps=steps)
    return replace(seen, health=health, findings=find(health))


def subject_of(
    network: Any, input: Input = None, classes: int | None = None, config: Mapping[str, Any] = {}, *, numbers: bool
) -> Subject:
    """Finds or builds the network; arguments as in `inspect`.

    Args:
        network: see `inspect`.
        input: see `inspect`.
        classes: see `inspect`.
        config: see `inspect`.
        numbers: whether it needs real weights.

    Raises:
        InputError: see `inspect`.
        RunError: see `inspect`.
    """
    if isinstance(network, nn.Module):
        return _of_module(type(network).__name__, network, input)
    path = getattr(network, "path", network)
    if isinstance(path, str | Path) and _is_run(Path(path)):
        return _of_run(Path(path), input)
    if callable(network):
        return _of_module(getattr(network, "__name__", "network"), _called(network, config), input)
    name = str(network)
    if name in NETWORKS:
        return _of_zoo(name, input, classes, config, numbers=numbers)
    if ":" in name:
        return _of_module(name, _called(_imported(name), config), input)
    if name.endswith(".py"):
        raise InputError(f"inspect: {name} is a file, not a network. Name a function in it: {Path(name).stem}:NAME.")
    if any(mark in name for mark in "/\\") or Path(name or "-").exists():
        raise InputError(f"inspect: {name} is no run (run.json is missing). `tenfold fit` makes one.")
    raise InputError(
        f"unknown network {name!r}.{did_you_mean(name, NETWORKS)} "
        "Or name a run folder, or a function of yours as module:callable."
    )


def typical_spec(entry: NetworkEntry) -> tuple[InputSpec, int]:
    """An input that is usual for a network of the zoo, and its number of outputs: those of published figures."""
    if entry.published is not None:
        shape, num_outputs = entry.published.shape, entry.published.num_outputs
        return InputSpec(kind="image", shape=shape, dense=entry.dense), num_outputs
    if "image" in entry.kinds:
        side = max(_IMAGE[1], entry.min_image_size)
        return InputSpec(kind="image", shape=(_IMAGE[0], side, side), dense=entry.dense), _NUM_CLASSES
    return InputSpec(kind="table", shape=_TABLE), _NUM_CLASSES


def list_networks(names: Iterable[str] = NETWORKS) -> list[dict[str, Any]]:
    """What each network of the zoo is and costs, on the input of `typical_spec`; in milliseconds each.

    Args:
        names: those to list; all by default.

    Example:
        >>> [row] = list_networks(["linear"])
        >>> row["parameters"], row["flops"]
        (30730, 61440)
    """
    rows = []
    for name in names:
        entry = NETWORKS[name]
        spec, num_outputs = typical_spec(entry)
        config = {} if entry.published is None else entry.published.config
        model = build_without_numbers(name, spec, num_outputs, config)
        seen = inspect_module(model, example_inputs(spec), fields=False, memory=False)
        rows.append(
            {
                "name": name,
                "parameters": seen.parameters,
                "flops": seen.flops,
                "input": list(spec.shape),
                "classes": num_outputs,
                "inputs": sorted(entry.kinds),
                "aliases": list(entry.aliases),
                "stacks": entry.stacks,
                "reference": entry.reference,
            }
        )
    return rows


def example_inputs(spec: InputSpec) -> tuple[Tensor, ...]:
    """A batch of one sample, all zero, as a network of this input is called."""
    numbers = torch.zeros(1, *spec.shape)
    if not spec.cardinalities:
        return (numbers,)
    return numbers, torch.zeros(1, len(spec.cardinalities), dtype=torch.int64)


def parse_shape(text: str) -> tuple[int, ...]:
    """A shape as it is written on the command line.

    Raises:
        InputError: it is none.

    Example:
        >>> parse_shape("3x224x224"), parse_shape("16")
        ((3, 224, 224), (16,))
    """
    parts = text.lower().replace("×", "x").replace(",", "x").split("x")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--input: must be sizes with x between, got {text!r}. Write 3x224x224, or 16 for columns.")
    shape = tuple(int(part) for part in parts)
    if math.prod(shape) > _MOST_NUMBERS:
        raise InputError(f"--input: must have at most 2^31 numbers, got {text}. Write 3x224x224, or 16 for columns.")
    return shape


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def _of_zoo(name: str, input: Input, classes: int | None, config: Mapping[str, Any], *, numbers: bool) -> Subject:
    entry = NETWORKS[name]
    spec, usual = typical_spec(entry)
    if input is not None:
        spec = _spec_from(input, entry)
        usual = _NUM_CLASSES
    count = usual if classes is None else classes
    model = (
        build_network(name, spec, count, **config) if numbers else build_without_numbers(name, spec, count, config)
    )
    return Subject(name=name, model=model, inputs=example_inputs(spec))


def build_without_numbers(name: str, spec: InputSpec, num_outputs: int, config: Mapping[str, Any] = {}) -> nn.Module:
    """A network of the zoo that holds shapes alone, or, where its building asks for numbers, a real one.

    Args:
        name: in `NETWORKS`.
        spec: the input.
        num_outputs: at least 1.
        config: its settings.
    """
    try:
        with without_numbers():
            return build_network(name, spec, num_outputs, **config)
    except (TenfoldError, ValueError, TypeError):
        raise
    except Exception:  # it looks at numbers while it is built
        return build_network(name, spec, num_outputs, **config)


def _spec_from(input: Input, entry: NetworkEntry) -> InputSpec:
    if isinstance(input, InputSpec):
        return input
    shape = _shapes(input)[0] if isinstance(input, Tensor | tuple) and not _is_shape(input) else _as_shape(input)
    if len(shape) == 1:
        return InputSpec(kind="table", shape=shape)
    if len(shape) != 3:
        raise InputError(
            f"--input: must be CxHxW of an image or a number of columns, got {'x'.join(map(str, shape))}. "
            "Write 3x224x224, or 16."
        )
    return InputSpec(kind="image", shape=shape, dense=entry.dense)


def _is_shape(input: Any) -> bool:
    return isinstance(input, Sequence) and not isinstance(input, str) and all(isinstance(n, int) for n in input)


def _as_shape(input: Any) -> tuple[int, ...]:
    if isinstance(input, str):
        return parse_shape(input)
    if not _is_shape(input) or not input or min(input) < 1:
        raise InputError(f"inspect: input must be a shape of sizes >= 1, got {input!r}. Give one as (3, 224, 224).")
    return tuple(input)


def _shapes(input: Any) -> list[tuple[int, ...]]:
    return [tuple(x.shape[1:]) for x in (input if isinstance(input, tuple) else (input,))]


def _of_module(name: str, model: nn.Module, input: Input) -> Subject:
    if input is None:
        raise InputError(f"inspect: {name} does not say what it takes. Give a sample's shape: --input 3x224x224.")
    inputs = _inputs(model, input)
    return Subject(name=name, model=materialized(model, inputs), inputs=inputs)


def _inputs(model: nn.Module, input: Input) -> tuple[Tensor, ...]:
    """A batch of one sample; of whole numbers where the network begins with an embedding."""
    if isinstance(input, InputSpec):
        return example_inputs(input)
    if isinstance(input, Tensor | tuple) and not _is_shape(input):
        tensors = input if isinstance(input, tuple) else (input,)
        if not all(isinstance(x, Tensor) and x.ndim for x in tensors):
            raise InputError("inspect: input must be a shape or tensors with a batch in front. Give (3, 224, 224).")
        return tuple(x[:1].detach() for x in tensors)
    first = next((m for m in model.modules() if any(True for _ in m.parameters(recurse=False))), None)
    if isinstance(first, nn.Embedding | nn.EmbeddingBag):
        return (torch.zeros(1, *_as_shape(input), dtype=torch.int64),)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    return (torch.zeros(1, *_as_shape(input), dtype=like.dtype),)


def _imported(name: str) -> Any:
    """What "module:callable" names, as Python finds it from the current directory."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{name}: must be a module and a name in it. Write module:callable, as in model:make_model.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name.removesuffix(".py"))
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        raise InputError(
            f"{name}: no module {missing!r}. Give a Python file of the current directory, as in model:make_model."
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name}: importing {module_name} failed ({first_line(error)}). Mend it, or name another module."
        ) from error
    finally:
        sys.path.remove(here)
    if not hasattr(module, attribute):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"{name}: {module_name} has no {attribute!r}.{did_you_mean(attribute, names)}")
    return getattr(module, attribute)


def _called(make: Any, config: Mapping[str, Any]) -> nn.Module:
    if isinstance(make, nn.Module):
        return make
    name = getattr(make, "__name__", str(make))
    if not callable(make):
        raise InputError(f"{name}: must be a module or make one, got {type(make).__name__}. Name a function.")
    try:
        model = make(**config)
    except TypeError as error:
        raise InputError(f"{name}: cannot be called ({error}). Give its arguments: --config name=value.") from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name}: making the network failed ({first_line(error)}). Mend the function, or its --config."
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{name}: must return an nn.Module, got {type(model).__name__}. Return the network.")
    return model


def _of_run(path: Path, input: Input) -> Subject:
    info = read_info(path)
    model = load(path)
    inputs = example_inputs(model.preprocessor.spec) if input is None else _inputs(model.module, input)
    chosen = (info.get("result") or {}).get("best") or {}
    name = f"{path} ({chosen['network']})" if chosen.get("network") else str(path)
    return Subject(name=name, model=model.module, inputs=inputs, run=path)


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A source with what prepares it, to take training steps on.

    Attributes:
        source: what was read.
        preprocessor: of the run's model, or fitted on all rows.
        encoder: likewise.
    """

    source: Source
    preprocessor: Preprocessor
    encoder: TargetEncoder

    def batches(self, steps: int) -> list[tuple[Tensor, ...]]:
        """Batches of at most 64 rows in a random order that is always the same."""
        rows = np.arange(len(self.source))
        part = DataPart.of(self.source, rows, self.preprocessor, self.encoder)
        drawn = Batches(part, self.preprocessor, batch_size=min(64, len(rows)), seed=0).epoch(0)
        return [(*inputs, targets) for inputs, targets in islice(drawn, steps)]

    def loss(self) -> Callable[[Any, Any], Tensor]:
        """The task's loss, as a function of (outputs, targets)."""
        task = task_from(self.encoder)
        values = {name: torch.tensor(value) for name, value in task.info.values.items()}
        [objective] = task.objectives()

        def loss(outputs: Any, targets: Any) -> Tensor:
            said: Any = lambda *_: outputs  # noqa: E731
            return objective.loss(said, (None, targets), MemberView(streams=None, values=values))

        return loss


def _prepared(network: Any, data: Any) -> _Prepared:
    """A source, prepared as the run's model does it; for other networks as it would be for training on all rows."""
    path = getattr(network, "path", network)
    if isinstance(path, str | Path) and _is_run(Path(path)):
        info, model = read_info(Path(path)), load(Path(path))
        source = read(data, task=info["task"], target=own_target(model, data))
        return _Prepared(source=source, preprocessor=model.preprocessor, encoder=model.encoder)
    source = read(data)
    rows = np.arange(len(source))
    encoder = TargetEncoder.fit(source.targets, source.task, rows)
    return _Prepared(source=source, preprocessor=fit_preprocessor(source.inputs, rows), encoder=encoder)
