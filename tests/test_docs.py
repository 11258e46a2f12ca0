"""The pages around the code are true: made anew from it, or held against it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import tenfold

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PACKAGE = ROOT / "tenfold"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_the_page_of_the_default_space_is_what_the_code_says() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_spaces.py"))["render"]()
    assert (ROOT / "docs" / "spaces.md").read_text("utf-8") == made, "docs/spaces.md is behind the code: make docs"


def test_the_page_of_the_default_space_shows_a_space_that_fit_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "spaces.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "docs/spaces.md", "exec"), names)
    run = names["run"]
    assert isinstance(run, tenfold.Run)
    assert run.best.config["clip_norm"] == 1.0


def test_the_worked_page_of_inspect_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "inspect.md").read_text("utf-8"), re.DOTALL)
    exec(compile(block, "docs/inspect.md", "exec"), {})
    assert "Gradients vanish" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_design_names_every_room_and_no_other() -> None:
    text = (ROOT / "docs" / "design.md").read_text("utf-8")
    house = text[text.index("## The house") :]
    house = house[house.index("```") : house.index("```", house.index("```") + 3)]
    assert sorted(re.findall(r"^(?:\d  |   )(\w+)/", house, re.MULTILINE)) == ROOMS


def test_every_file_that_contributing_says_to_copy_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"`((?:tenfold|tests|docs)/[\w./]+)`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_has_an_entry_for_this_version() -> None:
    assert f"## [{tenfold.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f'version = "{tenfold.__version__}"' in (ROOT / "pyproject.toml").read_text("utf-8")
