"""A search in charts: what numbers stand beside, and what is said above them."""

import numpy as np
import pytest

from tenfold.report import RunRecords
from tenfold.report.records import DepartureRecord
from tenfold.report.search_charts import _numbers, departures, forecasts


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 20, 64, 1000])
def test_numbers_of_trials_stand_at_equal_distances(count):
    numbers = [number for number, _ in _numbers(0, count - 1)]
    assert numbers[0] == 0
    assert len(numbers) <= 6
    assert len(set(np.diff(numbers))) <= 1


def test_one_forecast_is_said_as_one(tmp_path):
    told = {"forecasts": [{"trial": 0, "expected": 0.8, "low": 0.7, "high": 0.9, "came": 0.85}]}
    text = forecasts(RunRecords(folder=tmp_path, run={"insights": told, "metric": "accuracy"}))
    assert "1 of 1 outcome lies within" in text
    assert 'class="whisker trial"' in text


def test_wide_charts_scroll_where_the_screen_is_narrow(tmp_path):
    left = (DepartureRecord(trial=0, how="complete", epoch=3, reason=""),)
    assert '<figure class="broad">' in departures(RunRecords(folder=tmp_path, run={}, departures=left))
