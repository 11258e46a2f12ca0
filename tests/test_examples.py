"""Every worked example runs as a script and says what it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"
SAYS = {
    "line_fit": r"exact .* y = (2\.559)\d x [\s\S]*441 lines .* y = \1\d x [\s\S]*200 steps .* y = \1\d x ",
    "logistic_regression": r"0\.0000 +[89]\.\d\d +2\.4\d h +100\.0%",
    "smooth_l1_is_huber": r"beta = 1\.0: huber / smooth_l1 is 1\.0000 to 1\.0000",
    "nadaraya_watson": r"average of all values +inf +1\.\d+ [\s\S]*best of 64 bandwidths +0\.\d+ +0\.3\d+",
    "sine_to_cosine": r"first step 0\.[5-7]\d+.*\n.*sixth on 0\.[01]\d+",
    "inception_reduction": r"naive +819,200 .*\nreduced +208,896 ",
    "diabetes": r"sigmoid +accuracy 0\.[678]\d+ .*\nrelu +accuracy 0\.[678]\d+ .*\n.*n = 10",
    "digits_by_rows": r"lstm +accuracy 0\.9\d+ .*\ngru +accuracy 0\.9\d+ ",
    "alexnet_vs_lenet": r"alexnet .* 61,100,840 for 1000 classes[\s\S]*alexnet +accuracy 0\.9\d+ .*\n.*n = 3",
}


def test_every_example_is_run_and_indexed() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == set(SAYS)
    assert set(re.findall(r"^\| \[(\w+)\.py\]", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)) == names


@pytest.mark.parametrize("name", list(SAYS))
def test_an_example_says_what_it_promises(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    finally:
        torch.set_rng_state(state)
    assert re.search(SAYS[name], capsys.readouterr().out)
