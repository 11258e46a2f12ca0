"""The page on what stacks how is what the code does, and its example runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tenfold.networks import NETWORKS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "stacking.md"
SLOW = tuple(name for name in NETWORKS if NETWORKS[name].heavy)


def rendered(**options: tuple[str, ...]) -> str:
    return runpy.run_path(str(DOCS / "make_stacking.py"))["render"](**options)


def test_the_page_on_stacking_is_what_the_code_does() -> None:
    lines = PAGE.read_text("utf-8").splitlines(keepends=True)
    page = "".join(line for line in lines if not line.startswith(tuple(f"| `{name}`" for name in SLOW)))
    assert page == rendered(left_out=SLOW), "docs/stacking.md is behind the code: make docs"


@pytest.mark.slow
def test_the_whole_page_on_stacking_is_what_the_code_does() -> None:
    assert PAGE.read_text("utf-8") == rendered(), "docs/stacking.md is behind the code: make docs"


def test_every_promise_holds_for_every_registered_network() -> None:
    table = PAGE.read_text("utf-8").split("\n## Kinds")[0]
    assert "**no**" not in table


def test_the_example_on_the_page_runs() -> None:
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(compile(block, "docs/stacking.md", "exec"), {})
