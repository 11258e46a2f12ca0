"""Plain numbers in, intervals and verdicts out: no model, no tensor, no file.

`summarize_replicates` is for repeated trainings of one configuration, `compare_scores` for two or more,
`clearly_worse` for a rung, `pairs_needed` for planning. `bootstrap_interval`, `bootstrap_difference` and `mcnemar`
judge trained models on one test part; `select_ensemble` says which to average. `fit_power_law` and `diagnose_fit`
read learning curves. `reliability`, `calibration_error`, `brier_score` and `fit_temperature` hold probabilities
against the truth.
Underneath: `student_mean`, `fold_mean` and `anytime_mean`.
"""

from tenfold.statistics.bootstrap import (
    Estimate,
    McNemar,
    bootstrap_difference,
    bootstrap_interval,
    mcnemar,
    percentiles,
    resampled_rows,
)
from tenfold.statistics.calibration import (
    Reliability,
    brier_score,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from tenfold.statistics.comparisons import compare_scores, holm
from tenfold.statistics.fitting import Curve, FitDiagnosis, Remedy, diagnose_fit
from tenfold.statistics.leaving import clearly_worse
from tenfold.statistics.means import Mean, anytime_mean, fold_mean, student_mean
from tenfold.statistics.pairs import Comparison
from tenfold.statistics.power import pairs_needed
from tenfold.statistics.power_law import PowerLaw, fit_power_law
from tenfold.statistics.rank_correlation import RankCorrelation, rank_correlation
from tenfold.statistics.replicates import Replicates, summarize_replicates
from tenfold.statistics.selection import Selection, select_ensemble

__all__ = [
    "Comparison",
    "Curve",
    "Estimate",
    "FitDiagnosis",
    "McNemar",
    "Mean",
    "PowerLaw",
    "RankCorrelation",
    "Reliability",
    "Remedy",
    "Replicates",
    "Selection",
    "anytime_mean",
    "bootstrap_difference",
    "bootstrap_interval",
    "brier_score",
    "calibration_error",
    "clearly_worse",
    "compare_scores",
    "diagnose_fit",
    "fit_power_law",
    "fit_temperature",
    "fold_mean",
    "holm",
    "mcnemar",
    "negative_log_likelihood",
    "pairs_needed",
    "percentiles",
    "rank_correlation",
    "reliability",
    "resampled_rows",
    "select_ensemble",
    "student_mean",
    "summarize_replicates",
]
