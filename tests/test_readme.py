"""What the READMEs show is what happens: their Python runs, their commands run, and both languages show the same."""

from __future__ import annotations

import ast
import gzip
import re
import shlex
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")
SMALL = {  # what a test adds to a command that trains
    **dict.fromkeys(("fit", "search"), ("--trials", "2", "--epochs", "1", "--quiet")),
    **dict.fromkeys(("cv", "replicate", "compare"), ("--epochs", "1", "--quiet")),
}


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[str]:
    """Every command `tenfold <verb> ...` of the blocks of shell, in order, once."""
    lines = [
        line.split("#")[0] for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.split("\n")
    ]
    found = [match[0].strip() for line in lines if (match := re.search(r"tenfold [a-z]+( [\w./=,-]+)*", line))]
    return list(dict.fromkeys(found))


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 0x08, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def material(tmp_path: Path) -> Path:
    """A directory with the files that the README's commands name, small."""
    draw = np.random.default_rng(0)
    patients = load_breast_cancer(as_frame=True).frame.iloc[:120, -5:].rename(columns={"target": "outcome"})
    for name in ("patients", "more-patients"):
        patients.to_csv(tmp_path / f"{name}.csv", index=False)
    patients.drop(columns="outcome").to_csv(tmp_path / "new-patients.csv", index=False)
    (tmp_path / "fashion-mnist").mkdir()
    for part in ("train", "t10k"):
        labels = np.arange(60) % 10
        write_idx(tmp_path / "fashion-mnist" / f"{part}-images-idx3-ubyte.gz", draw.integers(0, 256, (60, 28, 28)))
        write_idx(tmp_path / "fashion-mnist" / f"{part}-labels-idx1-ubyte.gz", labels)
    for name in ("daisy", "rose"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for number in range(12):
            picture = Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            picture.save(tmp_path / "flowers" / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("number", range(len(python_blocks(ENGLISH))))
def test_the_python_of_the_readme_runs_as_written(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(python_blocks(ENGLISH)[number], f"README.md, block {number}", "exec"), {"__name__": "__main__"})


def test_the_commands_of_the_readme_run_one_after_another(material: Path, tenfold: Callable[..., Any]) -> None:
    listed = commands(ENGLISH)
    assert len(listed) >= 8
    for command in listed:
        arguments = shlex.split(command)[1:]
        done = tenfold(*arguments, *SMALL.get(arguments[0], ()), cwd=material)
        assert done.code == 0, f"{command}: {done.err}"
    assert (material / "predictions.csv").read_text().count("\n") == 121
    assert (material / "runs" / "digits-1" / "report.html").is_file()


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_a_readme_opens_with_the_two_commands_and_a_picture(text: str) -> None:
    head = text[: text.index("\n## ")]
    assert head.index("make demo") < head.index("pip install . && tenfold fit digits") < head.index("![")
    assert (ROOT / re.findall(r"!\[[^\]]*\]\(([^)]+)\)", head)[0]).stat().st_size < 200_000


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_every_make_command_of_a_readme_is_in_the_makefile(text: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", text))
    assert {"demo", "test", "check"} <= named <= targets


def test_both_readmes_show_the_same_python_comments_aside() -> None:
    english, chinese = ([ast.dump(ast.parse(b)) for b in python_blocks(text)] for text in (ENGLISH, CHINESE))
    assert english == chinese


def test_both_readmes_show_the_same_commands() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
