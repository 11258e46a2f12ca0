"""Verdicts while a search trains: of each kind a line, seldom, of trials that have ended."""

import io
import math
import re

from rich.console import Console

import tenfold
from tenfold.cli import screen
from tenfold.study import speaking
from tenfold.study.job import Listener
from tenfold.study.speaking import Speaker
from tenfold.tuning import Float, Verdict

SPACE = {"lr": Float(1e-7, 1e-1, log=True), "hidden": 8, "depth": 1}


class Ear(Listener):
    def __init__(self):
        self.heard = []

    def note(self, sentence):
        self.heard.append(sentence)

    def stage(self, name):
        self.heard.append(f"-- {name}")


class Scripted(Speaker):
    """Finds so many diverged trials at each look, which takes no time by its clock."""

    def __init__(self, *counts):
        self.sentences, self.counts, self.now = [], list(counts), 0.0
        super().__init__(None, None, self.sentences.append, lambda: self.now)

    def ask_for(self, seconds):
        self.now += seconds
        self.speak_now_and_then()

    def _found(self):
        count = self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]
        return [Verdict(kind="diverged", sentence=f"{count} diverged", number=count)] if count else []


def searched(tmp_path, **more):
    ear = Ear()
    settings = {"trials": 12, "epochs": 6, "form": "stacked", "threads": 1, "no_checks": True, **more}
    run = tenfold.search("mlp", "iris", SPACE, out=tmp_path / "run", listener=ear, **settings)
    return ear.heard, run


def test_a_kind_is_said_when_it_comes_up_and_when_it_has_doubled():
    speaker = Scripted(0, 1, 1, 2, 3, 4, 7, 9)
    for _ in range(8):
        speaker.ask_for(20.0)
    assert speaker.sentences == ["1 diverged", "2 diverged", "4 diverged", "9 diverged"]


def test_at_the_end_the_last_count_is_said_and_nothing_twice():
    speaker = Scripted(2, 3, 3)
    speaker.ask_for(20.0)
    speaker.speak()
    speaker.speak()
    assert speaker.sentences == ["2 diverged", "3 diverged"]


def test_it_looks_every_ten_seconds_at_most_and_for_a_hundredth_of_the_time():
    looks = []

    class Slow(Scripted):
        def _found(self):
            looks.append(self.now)
            self.now += 3.0
            return super()._found()

    speaker = Slow(1)
    while speaker.now < 700.0:
        speaker.ask_for(1.0)
    assert looks == [10.0, 313.0, 616.0], "ten seconds after the start, then 100 times the three that a look takes"


def test_verdicts_come_while_others_still_train_and_of_trials_that_have_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(speaking, "_EVERY_S", 0.0)
    monkeypatch.setattr(speaking, "_SHARE", math.inf)
    heard, run = searched(tmp_path, sampler="tpe", halving="none", population=4)
    low = [place for place, line in enumerate(heard) if line.startswith("learning rate too low: ")]
    begun = [place for place, line in enumerate(heard) if " of 12 begin" in line]
    assert low[0] < begun[-1] < heard.index("-- final")
    of = re.search(r" of (\d+) trials", heard[low[0]])
    assert int(of.group(1)) in (4, 8), "those that have ended, four at a time"
    assert heard[low[-1]] in run.info["insights"]["kinds"]
    assert len(low) <= 1 + math.log2(12) + 1


def test_a_short_search_says_them_once_at_its_end(tmp_path):
    heard, run = searched(tmp_path, sampler="random", halving="none")
    low = [line for line in heard if line.startswith("learning rate too low: ")]
    assert len(low) == 1
    assert " of 12 trials" in low[0]
    assert low[0] in run.info["insights"]["kinds"]
    assert "Trial by trial" in (run.path / "report.html").read_text()


def test_on_a_terminal_lines_are_cut_between_words_and_quiet_says_nothing(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(screen, "err", Console(file=written, force_terminal=True, width=80, color_system=None))
    sentence = "learning rate too low: 3 of 38 trials, such as trial 1: " + "the training loss falls by 0.02 " * 4
    screen.Screen(quiet=False).note(sentence)
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines) == sentence.strip()
    assert lines[0].startswith("  l")
    assert lines[1].startswith("    ")
    screen.Screen(quiet=True).note(sentence)
    assert written.getvalue().splitlines() == lines
