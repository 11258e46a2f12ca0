"""Where the numbers come from: the data as it was read, and how to repeat the run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.core.wording import plural
from tenfold.report.markup import Html, element, empty, join, note, section, table
from tenfold.report.records import RunRecords
from tenfold.report.wording import format_value

CALLS = {
    "cv": "cross_validate", "replicate": "replicate", "compare": "compare", "search": "search",
    "learning-curve": "learning_curve", "width-curve": "width_curve",
}  # networks come first  # fmt: skip
FLAGS = {"methods": "method", "varies": "vary", "objectives": "objective", "time_s": "time"}
KEYWORDS = {"varies": "vary", "time_s": "time"}
LISTS = ("sizes", "widths", "quantiles", "order", "steps")  # one flag, with commas between
PARTS = ("train", "valid", "test")
MAX_SKIPPED = 200


def data(records: RunRecords) -> Html:
    """What was read, what was inferred, how it was split and which files were passed over."""
    source = records.run.get("source") or {}
    if not source:
        return section("data", "Data", empty("The source has not been recorded yet."))
    facts = [
        ("source", source.get("argument") or source.get("name")),
        ("kind", source.get("kind")),
        ("samples", source.get("rows")),
        ("task", records.task),
        ("classes", _classes(records)),
        ("one sample", _input(records.run.get("input") or {})),
    ]
    return section("data", "Data", _facts(facts), _notes(source), _parts(records), _skipped(source))


def _facts(facts: list[tuple[str, Any]]) -> Html:
    shown = [join([element("dt", name), element("dd", value)]) for name, value in facts if value not in (None, "")]
    return element("dl", *shown, class_="facts")


def _classes(records: RunRecords) -> str | None:
    classes = [str(name) for name in records.run.get("classes") or []]
    if not classes:
        return None
    more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    return f"{len(classes)}: {', '.join(classes[:20])}{more}"


def _input(spec: dict[str, Any]) -> str | None:
    shape = spec.get("shape")
    if shape is None:
        return None
    if spec.get("kind") == "image":
        return "image of " + " × ".join(map(str, shape)) + " (channels × height × width)"
    columns = plural(int(shape[0]), "number") if shape else "no numbers"
    codes = len(spec.get("cardinalities") or [])
    return columns + (f" and {plural(codes, 'categorical column')}" if codes else "")


def _notes(source: dict[str, Any]) -> Html | None:
    notes = source.get("notes") or []
    if not notes:
        return None
    items = element("ul", *(element("li", sentence) for sentence in notes))
    return join([element("h3", "What was inferred"), items])


def _parts(records: RunRecords) -> Html:
    sizes = [(part, records.part_size(part) or 0) for part in PARTS]
    total = sum(size for _, size in sizes)
    heading = element("h3", "The parts")
    if not total:
        return join([heading, empty("The data has not been split yet.")])
    bars = [
        element("div", element("b", part), f" {size}", class_=f"part {part}", style=f"flex-grow:{size}")
        for part, size in sizes
        if size
    ]
    how = (records.run.get("parts") or {}).get("how")
    return join([heading, element("div", *bars, class_="parts"), note(how) if how else None])


def _skipped(source: dict[str, Any]) -> Html | None:
    skipped = source.get("skipped") or []
    if not skipped:
        return None
    rows = [(entry.get("file"), entry.get("reason")) for entry in skipped[:MAX_SKIPPED]]
    more = note(f"{len(skipped) - MAX_SKIPPED} more.") if len(skipped) > MAX_SKIPPED else None
    summary = element("summary", f"{plural(len(skipped), 'file')} skipped")
    return element("details", summary, table(("file", "why"), rows), more, open=len(skipped) <= 10)


def repeat(records: RunRecords) -> Html:
    """Seed, versions and the calls that repeat the run."""
    run = records.run
    facts = [
        ("seed", run.get("seed")),
        ("commit", run.get("commit")),
        ("device", run.get("device")),
        ("versions", ", ".join(f"{name} {version}" for name, version in (run.get("versions") or {}).items())),
    ]
    command, call = command_line(run), python_call(run)
    parts = [] if command is None else [element("h3", "On the command line"), element("pre", command)]
    return section(
        "repeat",
        "To repeat this run",
        _facts(facts),
        *parts,
        element("h3", "From Python"),
        element("pre", call),
    )


def command_line(run: dict[str, Any]) -> str | None:
    """The command that asks the same question, or None when data, folds, space or a network were objects in memory.

    Example:
        >>> command_line({"verb": "fit", "seed": 7, "source": {"argument": "my data.csv"},
        ...     "arguments": {"trials": 8, "network": ["mlp", "linear"], "overwrite": True, "time": None}})
        "tenfold fit 'my data.csv' --trials 8 --network mlp --network linear --overwrite --seed 7"
    """
    argument = _source_of(run)
    if argument is None or _own_folds(run) or run.get("own_networks"):
        return None
    if "space" in arguments_of(run):  # no flag holds it; the page lists its ranges
        return None
    words = ["tenfold", str(run.get("verb") or "fit"), argument]
    for name, value in arguments_of(run).items():
        flag = "--" + FLAGS.get(name, name).replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-"))
        else:
            for entry in _entries(name, value):
                words += [flag, entry]
    return shlex.join(words)


def _entries(name: str, value: Any) -> list[str]:
    """The words after a flag, one for each time that it is given."""
    if name == "methods":
        return [
            f"{method}={','.join([str(network), *_pairs(config)])}" for method, network, config in _methods(value)
        ]
    if isinstance(value, dict):
        return _pairs(value)
    if name == "enqueue":
        return [",".join(_pairs(config)) for config in value]
    if name == "image_size" and isinstance(value, list | tuple):
        return ["x".join(map(str, value))]
    if name in LISTS:
        return [",".join(map(_plain, value))]
    return [_plain(entry) for entry in (value if isinstance(value, list | tuple) else [value])]


def _pairs(config: dict[str, Any]) -> list[str]:
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in config.items()]


def _methods(value: dict[str, Any]) -> list[tuple[str, Any, dict[str, Any]]]:
    """Name, network and configuration of each method; a network alone has no configuration."""
    both = {name: entry if isinstance(entry, list | tuple) else (entry, {}) for name, entry in value.items()}
    return [(name, network, dict(config)) for name, (network, config) in both.items()]


def python_call(run: dict[str, Any]) -> str:
    """The call that asks the same question.

    Example:
        >>> print(python_call({"verb": "fit", "seed": 7, "source": {"argument": "digits"},
        ...     "arguments": {"trials": 8}}))
        import tenfold
        <BLANKLINE>
        run = tenfold.fit("digits", trials=8, seed=7)
    """
    given = arguments_of(run)
    verb = str(run.get("verb") or "fit")
    own = list(run.get("own_networks") or [])
    networks = _networks(given.pop("methods" if verb == "compare" else "network", None), own)
    first, named = ([networks], []) if verb in CALLS else ([], [f"network={networks}"] * (networks != "None"))
    argument = _source_of(run)
    data_text = "data" if argument is None else _quote(argument)
    own_folds = _own_folds(run) and given.pop("folds")
    own_space = "space" in given and given.pop("space")
    keywords = named + ["folds=folds"] * bool(own_folds) + ["space=space"] * bool(own_space)
    renamed = KEYWORDS if verb != "fit" else {"time_s": "time"}
    keywords += [f"{renamed.get(name, name)}={_quote(value)}" for name, value in given.items()]
    objects = [
        name for name, held in (("data", argument is None), ("folds", own_folds), ("space", own_space)) if held
    ]
    remark = f"  # {', '.join([*own, *objects])}: the object the run was given" if own or objects else ""
    call = f"run = tenfold.{CALLS.get(verb, verb)}({', '.join([*first, data_text, *keywords])}){remark}"
    return f"import tenfold\n\n{call}"


def _source_of(run: dict[str, Any]) -> str | None:
    """The source as a call from any folder names it: a bundled name, or a whole path; None where it was an object."""
    source = run.get("source") or {}
    argument = source.get("path") or source.get("argument")
    return argument if isinstance(argument, str) and source.get("kind") != "dataset" else None


def _own_folds(run: dict[str, Any]) -> bool:
    """Whether the folds were the user's own, of which the run holds a hash alone."""
    return isinstance(arguments_of(run).get("folds"), str)


def _networks(value: Any, own: Sequence[str]) -> str:
    """A network by its name, methods by theirs; the user's own functions bare."""
    if isinstance(value, dict):
        return repr({name: (network, config) for name, network, config in _methods(value)})
    names = list(value) if isinstance(value, list | tuple) else [value]
    if len(names) == 1 or not set(names) & set(own):
        return names[0] if names[0] in own else _quote(names[0] if len(names) == 1 else value)
    return f"[{', '.join(name if name in own else _quote(name) for name in names)}]"


def arguments_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, by Python name, and the seed at the end."""
    given = {str(name).lstrip("-").replace("-", "_"): value for name, value in (run.get("arguments") or {}).items()}
    given = {name: v for name, v in given.items() if v is not None and v != [] and name != "seed"}
    given = {name: v for name, v in given.items() if v is not False or name == "header"}  # --no-header says something
    if "curve_over" in given:  # a width curve: its methods are one network of several widths
        over, methods = given.pop("curve_over"), _methods(given.pop("methods", {}))
        given |= {"network": [methods[0][1]], "parameter": over, "widths": [config[over] for *_, config in methods]}
    return given | ({"seed": run["seed"]} if run.get("seed") is not None else {})


def _quote(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return repr(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else format_value(value)
