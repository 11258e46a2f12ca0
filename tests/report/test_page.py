import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tenfold.core.errors import RunError
from tenfold.report import load_run, render_page, write_report
from tenfold.report.markup import VOID

SECTIONS = {
    "answer", "leaderboard", "curves", "halving", "slices", "errors", "worst", "batch", "cost", "data", "repeat"
}  # fmt: skip


class Page(HTMLParser):
    """Checks nesting and collects ids, scripts and everything that could reach out of the page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tags = [], set(), [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids.add(attributes.get("id"))
        self.links += [attributes[name] for name in ("src", "href", "action", "srcset") if name in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.ids >= SECTIONS
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert page.tags.count("script") == 2
    assert not re.search(r"https?://|@import|url\(", text)
    assert not re.search(r'="[^"]*\bnan\b', text)
    return text


@pytest.mark.parametrize("trials", [0, 1, 64])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("status", ["done", "interrupted"])
def test_every_run_has_a_page_that_stands_alone(make_run, task, trials, status):
    check(make_run(task=task, trials=trials, status=status, nan=min(trials, 3)))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_run_in_which_every_trial_diverged_has_a_page(make_run, task):
    folder = make_run(task=task, trials=9, nan=9)
    text = (folder / "records.jsonl").read_text()
    (folder / "records.jsonl").write_text(re.sub(r'"(accuracy|rmse)": [\d.]+', r'"\1": NaN', text))
    assert "no score that is a number" in check(folder)


def test_folds_are_drawn_as_members_of_their_trial(make_run):
    text = check(make_run(trials=3, folds=5))
    assert "one standard deviation over a trial's members" in text


RUN_KEYS = [
    "name", "status", "source", "task", "metric", "direction", "classes", "input", "parts", "seed", "arguments",
    "space", "rungs", "versions", "commit", "device", "plan", "timings", "peak_memory_bytes", "result", "verb",
]  # fmt: skip


@pytest.mark.parametrize("missing", [..., None], ids=["absent", "null"])
@pytest.mark.parametrize("key", RUN_KEYS)
def test_no_single_missing_piece_breaks_the_page(make_run, key, missing):
    check(make_run(trials=2, **{key: missing}))


@pytest.mark.parametrize("file", ["records.jsonl", "evaluation.npz", "gallery.npz"])
@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_missing_and_torn_files_are_said_in_their_section(make_run, file, damage):
    path = make_run(trials=1) / file
    data = path.read_bytes()
    path.unlink()
    if damage == "torn":
        path.write_bytes(data[: len(data) * 2 // 3])
    text = check(path.parent)
    if damage == "torn" and file.endswith("npz"):
        assert f"{file} could not be read" in text


@pytest.mark.parametrize(
    "hostile", ["</script><script>alert(1)</script>", "\udcff", "a\0b", "猫🌸", "'\"><img src=x>"]
)
def test_hostile_names_stay_text(make_run, hostile):
    folder = make_run(trials=9, name=hostile, classes=[hostile] * 5)
    path = folder / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "trial":
            line.update(network=hostile, config={hostile: hostile if line["trial"] % 2 else 1, "lr": line["trial"]})
        if line["kind"] == "baseline":
            line["name"] += hostile
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "<img src=x" not in check(folder)


def test_the_policy_lets_only_the_pages_own_script_run(make_run):
    text = html.unescape(check(make_run(trials=1)))
    assert "default-src 'none'" in text
    assert re.search(r"script-src 'sha256-[\w+/=]{44}'", text)


def test_the_page_of_64_trials_stays_small(make_run):
    assert len(check(make_run(trials=64))) < 400_000


def test_writing_again_gives_the_same_page_and_leaves_no_draft(make_run):
    folder = make_run(trials=9)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert not list(folder.glob("*.tmp"))


def test_few_trials_get_a_sentence_instead_of_slices(make_run):
    assert "at least 8 are needed" in render_page(load_run(make_run(trials=7)))
    assert "Importance: a random forest" in render_page(load_run(make_run(trials=20)))


def test_a_hyper_parameter_searched_on_a_log_scale_has_a_log_axis(make_run):
    text = render_page(load_run(make_run(trials=20)))
    assert "lr (log)" in text
    assert "momentum (log)" not in text


def test_trials_that_left_are_drawn_as_such(make_run):
    folder = make_run(trials=9)
    text = render_page(load_run(folder))
    left = [trial for rung in load_run(folder).rungs for trial in rung.left]
    assert left
    for trial in left:
        assert re.search(rf'class="curve left" data-trial="{trial}"', text)


def test_a_prediction_that_is_nan_does_not_break_the_page(make_run):
    folder = make_run(task="regression", trials=2)
    np.savez(folder / "evaluation.npz", targets=np.arange(5.0), predictions=np.full(5, np.nan))
    assert "No prediction is a number" in check(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"has no run\.json"):
        write_report(tmp_path)
