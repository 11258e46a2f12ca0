"""The report: one HTML file that opens offline, in light and in dark, on a wide screen and on a telephone.

The page carries a content security policy under which a browser loads nothing from anywhere and runs no script
but the one whose hash is given: were a text of the user ever to slip through as markup, it could not act.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from tenfold.core.wording import plural
from tenfold.core.writing import written_beside
from tenfold.report.answer import answer
from tenfold.report.calibration import calibration
from tenfold.report.cost import cost
from tenfold.report.courses import courses
from tenfold.report.curves import learning_curves
from tenfold.report.errors import errors
from tenfold.report.events import events
from tenfold.report.honesty import honesty
from tenfold.report.ladder import ladder
from tenfold.report.learning import learning_answer, learning_chart
from tenfold.report.load import load_run
from tenfold.report.markup import Html, element, raw
from tenfold.report.members import member_tips, members
from tenfold.report.overlays import batch_with_masks, scenes
from tenfold.report.paired import differences, methods
from tenfold.report.pictures import batch, worst
from tenfold.report.provenance import data, repeat
from tenfold.report.ranking import TrialScore, score_trials
from tenfold.report.records import RunRecords
from tenfold.report.scoreboard import scoreboard
from tenfold.report.search_charts import departures, forecasts, history, parallel
from tenfold.report.search_words import verdicts, winner
from tenfold.report.slices import slices
from tenfold.report.trust import trust_answer
from tenfold.report.wording import format_config, format_score

TRUST = ("cv", "replicate", "compare")
CURVES = ("learning-curve", "width-curve")
TITLES = {
    "leaderboard": "Leaderboard",
    "members": "Scores",
    "differences": "Differences",
    "history": "Search",
    "verdicts": "Verdicts",
    "curves": "Curves",
    "halving": "Who left",
    "events": "Incidents",
    "slices": "What mattered",
    "parallel": "Side by side",
    "forecasts": "Forecasts",
    "winner": "Winner",
    "errors": "Errors",
    "calibration": "Calibration",
    "worst": "Worst",
    "batch": "A batch",
    "cost": "Time",
    "honesty": "Honesty",
    "data": "Data",
    "repeat": "Repeat",
}


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Writes `report.html` into a run folder, in place of the one that may be there.

    Whatever the run has not (yet) recorded leaves a sentence in its section that says so.

    Args:
        folder: a run folder.

    Returns:
        The path of the file.

    Raises:
        RunError: the folder holds no run; see `load_run`.
        OSError: the file cannot be written; what was there is kept.
    """
    records = load_run(folder)
    path = records.folder / "report.html"
    page = render_page(records).encode("utf-8", "xmlcharrefreplace")
    with written_beside(path) as draft:
        draft.write_bytes(page)
    return path


def render_page(records: RunRecords) -> str:
    """The page as text.

    Args:
        records: a run.
    """
    scores = score_trials(records)
    script = _resource("page.js")
    if records.verb in CURVES:
        top, parts = learning_answer(records), {"curves": learning_chart(records), **_last_sections(records)}
    else:
        top, parts = _trust_sections(records) if records.verb in TRUST else _fit_sections(records, scores)
    shown = {anchor: part for anchor, part in parts.items() if part is not None}
    tips = member_tips(records) if records.verb in TRUST else _trial_tips(records, scores)
    body = element(
        "body",
        _masthead(records, list(shown)),
        element("main", top, *shown.values()),
        element("script", _as_json(tips), id="trials", type="application/json"),
        element("script", raw(script)),
    )
    return "<!doctype html>\n" + element("html", _head(records, script), body, lang="en") + "\n"


Sections = dict[str, Html | None]


def _fit_sections(records: RunRecords, scores: Sequence[TrialScore]) -> tuple[Html, Sections]:
    searched = records.verb == "search"
    return answer(records, scores), {
        "leaderboard": scoreboard(records, scores),
        "history": history(records, scores) if searched else None,
        "verdicts": verdicts(records, scores) if searched else None,
        "curves": learning_curves(records, scores),
        "halving": departures(records) if searched else ladder(records, scores),
        "events": events(records),
        "slices": slices(records, scores),
        "parallel": parallel(records, scores) if searched else None,
        "forecasts": forecasts(records) if searched else None,
        "winner": winner(records, scores) if searched else None,
        "errors": errors(records),
        "calibration": calibration(records),
        "worst": scenes(records) if "scene_truth" in records.gallery else worst(records),
        "batch": batch_with_masks(records) if "batch_masks" in records.gallery else batch(records),
        **_last_sections(records),
    }


def _trust_sections(records: RunRecords) -> tuple[Html, Sections]:
    """A cross-validation, a replication or a comparison; what was not kept has no section."""
    compared = records.verb == "compare"
    evaluated = bool(records.evaluation) or records.evaluation_file in records.problems
    return trust_answer(records), {
        "members": methods(records) if compared else members(records),
        "differences": differences(records) if compared else None,
        "curves": courses(records),
        "events": events(records),
        "errors": errors(records) if evaluated else None,
        "calibration": calibration(records) if evaluated else None,
        "worst": worst(records) if "worst" in records.gallery or records.worst_rows else None,
        "batch": batch(records) if "batch" in records.gallery else None,
        **_last_sections(records),
    }


def _last_sections(records: RunRecords) -> Sections:
    return {"cost": cost(records), "honesty": honesty(records), "data": data(records), "repeat": repeat(records)}


def _head(records: RunRecords, script: str) -> Html:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{records.name} · tenfold"),
        element("style", raw(_resource("page.css"))),
    )


def _masthead(records: RunRecords, anchors: Sequence[str]) -> Html:
    links = [element("a", TITLES[anchor], href=f"#{anchor}") for anchor in anchors]
    name = element("span", element("b", "tenfold"), f" {records.run.get('verb') or 'run'} · {records.name}")
    return element("header", name, element("nav", *links))


def _trial_tips(records: RunRecords, scores: Sequence[TrialScore]) -> dict[str, str]:
    """What the script shows for each trial."""
    return {str(score.trial.number): _tip(score, records) for score in scores}


def _as_json(tips: dict[str, str]) -> Html:
    """JSON that cannot end its element."""
    return raw(json.dumps(tips).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _tip(score: TrialScore, records: RunRecords) -> str:
    valid = format_score(score.valid, records.metric)
    spread = f" ± {format_score(score.spread, records.metric)}" if np.isfinite(score.spread) else ""
    chosen = ", chosen" if score.trial.number == records.chosen else ""
    config = format_config(score.trial.config).replace(" ", "\n")
    return (
        f"{score.trial.title}{chosen}\nvalid {valid}{spread}, {plural(score.epochs, 'epoch')}{score.ending}\n{config}"
    )


def _resource(name: str) -> str:
    return resources.files("tenfold.report").joinpath(name).read_text(encoding="utf-8")
