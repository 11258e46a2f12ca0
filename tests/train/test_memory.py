"""Memory as the system sees it: predicted before a stack is built, and back when members have left."""

import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from train_kit import LOG_LOSS, Classify, make_cohort, moons_data, specs_of

MEASURE = Path(__file__).parents[2] / "benchmarks" / "memory.py"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_what_was_predicted_is_needed_and_what_left_comes_back():
    command = [sys.executable, str(MEASURE), "--json", "--network", "mlp", "--members", "16"]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert measured["predicted_peak"] == pytest.approx(measured["peak"], rel=0.3)
    assert measured["predicted_resident"] == pytest.approx(measured["resident"], rel=0.3)
    left = measured["resident"] * 12 / 16
    assert measured["resident"] - measured["after_keep"] > 0.8 * left


def test_a_lane_that_is_gone_holds_nothing(tmp_path):
    specs = specs_of([{"hidden": 8, "lr": 1e-2}, {"hidden": 4, "lr": 1e-2}])
    cohort = make_cohort(specs, Classify(), moons_data(), LOG_LOSS, [(1, 1)], tmp_path, steps_per_epoch=2)
    x, y = next(iter(moons_data().training(16).epoch(0, None)))
    for lane in cohort.lanes:
        lane.train_step((x, y))
        lane.note_scores(lane.evaluate([(x, y)])["log_loss"], 1)
    stacks = [weakref.ref(lane.stack) for lane in cohort.lanes]
    del lane
    gc.disable()
    try:
        cohort.keep_trials({1})
        assert [stack() is None for stack in stacks] == [True, False]
    finally:
        gc.enable()
        cohort.log.close()
