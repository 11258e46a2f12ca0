"""Reports: a run folder becomes a table, a leaderboard on the terminal, or one HTML file. Needs no model.

`load_run` reads a folder into `RunRecords`; `leaderboard` makes a DataFrame of them and `render_leaderboard` a
table for the terminal; `write_report` writes `report.html`. `outcome_line` and `render_outcome` say what a
cross-validation, a replication or a comparison found, `together_line` what several networks gain over one.
`write_masks` writes predicted masks as pictures. `format_number` and `format_scored` write scores as the tables do.
"""

from tenfold.report.events import events_line
from tenfold.report.load import load_run
from tenfold.report.mask_files import write_masks
from tenfold.report.outcome import outcome_line, render_outcome
from tenfold.report.page import render_page, write_report
from tenfold.report.ranking import leaderboard
from tenfold.report.records import Baseline, Curve, Final, MemberScore, RungRecord, RunRecords, Score, Trial
from tenfold.report.terminal import render_leaderboard
from tenfold.report.together import together_line
from tenfold.report.wording import format_number, format_scored

__all__ = [
    "Baseline",
    "Curve",
    "Final",
    "MemberScore",
    "RunRecords",
    "RungRecord",
    "Score",
    "Trial",
    "events_line",
    "format_number",
    "format_scored",
    "leaderboard",
    "load_run",
    "outcome_line",
    "render_leaderboard",
    "render_outcome",
    "render_page",
    "together_line",
    "write_masks",
    "write_report",
]
