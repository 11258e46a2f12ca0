"""Verdicts while a search trains: a line a kind, when trials have ended, and again when there are twice as many.

What is said is what the report will say (`insights.py`), of the trials that have ended so far. Records are read for
it and curves are judged: that happens at most every ten seconds, and seldom enough to take a hundredth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tenfold.core.records import RecordLog
from tenfold.report import load_run
from tenfold.study.insights import verdicts_on
from tenfold.study.question import Question
from tenfold.tuning import Verdict, by_kind

_EVERY_S = 10.0
_SHARE = 0.01  # of the time


class Speaker:
    """Says what is wrong with trials and ranges.

    Args:
        question: with all trials that have begun.
        log: where the facts are, in the run's folder.
        note: takes a sentence.
        seconds: a clock.
    """

    def __init__(
        self,
        question: Question,
        log: RecordLog,
        note: Callable[[str], None],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.question, self.log, self.note, self._seconds = question, log, note, seconds
        self._said: dict[tuple[str, str | None], float] = {}
        self._next = seconds() + _EVERY_S

    def speak_now_and_then(self) -> None:
        """As `speak`, where enough time has passed; of each kind only what is new or has doubled."""
        if self._seconds() >= self._next:
            self.speak(growth=2.0)

    def speak(self, *, growth: float = 1.0) -> None:
        """Says each kind of verdict that has not been said, or concerns more trials than when it was.

        Args:
            growth: by what factor more, at least.
        """
        began = self._seconds()
        for verdict in self._found():
            key = (verdict.kind, verdict.name)
            count = 1.0 if verdict.name else verdict.number
            before = self._said.get(key)
            if before is None or (count > before and count >= growth * before):
                self._said[key] = count
                self.note(verdict.sentence)
        self._next = self._seconds() + max(_EVERY_S, (self._seconds() - began) / _SHARE)

    def _found(self) -> list[Verdict]:
        """A verdict a kind, on the trials that have ended."""
        self.log.sync()
        records = load_run(self.log.path.parent)
        ended = {left.trial for left in records.departures}
        found = verdicts_on(records, self.question)
        return by_kind([one for one in found if one.trial is None or one.trial in ended], len(ended))
