import io
import json

import pytest
from rich.console import Console

from tenfold.report import leaderboard, load_run, render_leaderboard


def shown(frame, **options):
    out = io.StringIO()
    Console(file=out, width=80).print(render_leaderboard(frame, **options))
    return out.getvalue()


@pytest.mark.parametrize("trials", [0, 1, 64])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_table_fits_into_80_columns(make_run, task, trials):
    text = shown(leaderboard(load_run(make_run(task=task, trials=trials, nan=2))))
    assert max(map(len, text.splitlines())) <= 80


def test_top_trials_baselines_and_the_chosen_one_are_shown(make_run):
    frame = leaderboard(load_run(make_run(trials=64)))
    text = shown(frame, top=3)
    trials = frame[frame["kind"] == "trial"]
    assert all(name in text for name in [*trials["name"].head(3), "majority", "linear"])
    assert trials["name"].iloc[5] not in text
    assert "1*" in text or "2*" in text or "3*" in text
    assert "more trials in the report" in text


def test_brackets_and_broken_characters_in_names_are_no_markup(make_run):
    folder = make_run(trials=1)
    path = folder / "records.jsonl"
    path.write_text(path.read_text().replace('"linear"', json.dumps("[red]x\udcff\ny")))
    assert "[red]x? y" in shown(leaderboard(load_run(folder)))


def test_fewer_than_one_row_is_refused(make_run):
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        render_leaderboard(leaderboard(load_run(make_run(trials=1))), top=0)
