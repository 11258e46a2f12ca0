"""Imports go down only: a table of floors and a walk over the syntax trees."""

import ast
from pathlib import Path

import pytest

import tenfold

PACKAGE = Path(tenfold.__file__).parent
FLOORS = {
    "core": 0,
    "nn": 1,
    "data": 1,
    "diagnosis": 1,
    "statistics": 1,
    "tuning": 1.2,  # its verdicts and forecasts are statistics of curves
    "report": 1.5,  # its pages show calibration and the verdict on curves
    "networks": 2,
    "stacking": 2,
    "optim": 2.5,  # the stacked optimisers are built on the stack
    "train": 3,
    "tasks": 3,
    "testing": 3,
    "study": 4,
    "cli": 5,
    "__main__": 6,
}
THE_WHOLE_PACKAGE = "the whole package"  # stands on all rooms; the command line alone may use it
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(tree):
    """Every absolute name that a file imports, at its top or inside a function, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def imported_rooms(tree):
    for name, line in imported_modules(tree):
        parts = name.split(".")
        if parts[0] == "tenfold":
            yield (parts[1] if len(parts) > 1 and parts[1] in FLOORS else THE_WHOLE_PACKAGE), line


def wrong_imports(room, source):
    """The imports of a room's source that do not go down."""
    return [
        f"line {line}: {room} (floor {FLOORS[room]}) imports {other}"
        for other, line in imported_rooms(ast.parse(source))
        if other != room and FLOORS.get(other, 4.5) >= FLOORS[room]
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_itself_and_lower_floors_only(path):
    assert room_of(path) in FLOORS, f"{path.name} is in a room that has no floor in the table"
    assert wrong_imports(room_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("core", "from tenfold.stacking import stack"),
        ("data", "import tenfold.nn.losses"),
        ("train", "from tenfold import tasks"),
        ("stacking", "def f():\n    from tenfold.optim import SGD"),
        ("report", "if TYPE_CHECKING:\n    import tenfold"),
        ("study", "from tenfold import stack"),
    ],
)
def test_the_walk_finds_imports_that_go_up_or_sideways(room, source):
    assert len(wrong_imports(room, source)) == 1


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("optim", "from tenfold.stacking import Stack"),
        ("nn", "import torch, tenfold.core.errors"),
        ("cli", "import tenfold"),
    ],
)
def test_the_walk_lets_imports_that_go_down_pass(room, source):
    assert wrong_imports(room, source) == []


def test_no_room_bears_the_name_of_a_public_function():
    functions = {name for name in tenfold.__all__ if callable(getattr(tenfold, name))}
    assert functions & set(FLOORS) == set()


def test_what_the_package_names_is_there():
    missing = [name for name in tenfold.__all__ if not hasattr(tenfold, name)]
    assert missing == []
    assert sorted(set(tenfold.__all__)) == sorted(tenfold.__all__)


def module_name(path):
    parts = ["tenfold", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top_level_imports(path, modules):
    """Modules of the package that a file imports while it is imported; what is for type checkers is not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    names = imported_modules(ast.Module(body=[n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]))
    found = {name if name in modules else name.rpartition(".")[0] for name, _ in names}
    return (found & set(modules)) - {module_name(path)}


def test_no_file_imports_itself_in_a_circle():
    modules = {module_name(path): path for path in FILES}
    graph = {name: top_level_imports(path, modules) for name, path in modules.items()}
    done, under_way = set(), []

    def visit(name):
        assert name not in under_way, " -> ".join([*under_way[under_way.index(name) :], name])
        if name in done:
            return
        under_way.append(name)
        for other in sorted(graph[name]):
            visit(other)
        under_way.pop()
        done.add(name)

    for name in graph:
        visit(name)
