"""Do the intervals cover, and how often is a winner called where there is none? A simulation with a known truth.

Scores are drawn, or made by real learners on data drawn from a known population; `tenfold.statistics` is asked; its
answer is held against the truth. Each table says which randomness and which population its truth is taken over.

    python benchmarks/coverage.py            # ten minutes on one core
    python benchmarks/coverage.py --write    # writes benchmarks/results/coverage.md

S seeds, F folds, R repetitions, N rows of a data set, D features
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import itertools
import math
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy

import tenfold
from tenfold.statistics import (
    anytime_mean,
    clearly_worse,
    compare_scores,
    pairs_needed,
    student_mean,
    summarize_replicates,
)

Array = np.ndarray
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
RESULTS = Path(__file__).parent / "results" / "coverage.md"
TEST_ROWS, MEAN = 500, 0.9

# Scores of one training, all with the expected value 0.9: other seeds, on the same data and the same test part.
SCORES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(MEAN, 0.01, shape),
    "accuracy on 500 samples": lambda rng, shape: rng.binomial(TEST_ROWS, MEAN, shape) / TEST_ROWS,
    "heavy tails (t, 3 degrees)": lambda rng, shape: MEAN + 0.01 * rng.standard_t(3, shape),
    "skewed (gamma, skewness 1)": lambda rng, shape: MEAN + 0.01 * (4 - rng.gamma(4.0, size=shape)),
    "very skewed (exponential)": lambda rng, shape: MEAN + 0.01 * (1 - rng.exponential(size=shape)),
}

PAIRS = [
    *((name, draw, draw) for name, draw in SCORES.items()),
    ("A exponential, B normal", SCORES["very skewed (exponential)"], SCORES["normal"]),
    ("A exponential, B constant", SCORES["very skewed (exponential)"], lambda rng, shape: np.full(shape, MEAN)),
]


def within(low: float, truth: float, high: float) -> bool:
    return low <= truth <= high


def percent(hits: list[bool]) -> str:
    """A share with its Monte-Carlo standard error."""
    share = float(np.mean(hits))
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / len(hits)):.1f}"


def table(title: str, truth: str, head: list[str], rows: Iterator[list[str]]) -> None:
    print(f"\n## {title}\n\n{truth}\n")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


# -- independent seeds -----------------------------------------------------------------------------------------


def replicate_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    for name, draw in SCORES.items():
        for n in (3, 5, 10, 20):
            mean, following = [], []
            for scores in draw(rng, (repetitions, n + 1)):
                result = summarize_replicates(scores[:n], direction="maximize")
                mean.append(within(result.low, MEAN, result.high))
                following.append(within(result.next_low, scores[n], result.next_high))
            yield [name, str(n), percent(mean), percent(following)]


def paired(rng: np.random.Generator, draw_a: Draw, draw_b: Draw, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Scores of two methods that share what a seed does to both; equal in expectation."""
    shared = rng.normal(0, 0.01, shape)
    return draw_a(rng, shape) + shared, draw_b(rng, shape) + shared


def compare_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    for name, draw_a, draw_b in PAIRS:
        for n in (3, 5, 10, 20):
            covered, false = [], []
            for a, b in zip(*paired(rng, draw_a, draw_b, (repetitions, n)), strict=True):
                [result] = compare_scores({"a": a, "b": b}, direction="maximize")
                covered.append(within(result.low, 0.0, result.high))
                false.append(result.winner is not None)
            yield [name, str(n), percent(covered), percent(false)]


def several_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    for against in (None, "m0", "best"):
        any_false, together = [], []
        for scores in SCORES["normal"](rng, (repetitions, 5, 10)):
            methods = {f"m{i}": row for i, row in enumerate(scores)}
            results = compare_scores(methods, direction="maximize", against=against)
            any_false.append(any(r.winner for r in results))
            together.append(all(within(r.simultaneous_low, 0.0, r.simultaneous_high) for r in results))
        asked = {None: "all pairs", "m0": "all with a named one", "best": "all with the best"}[against]
        yield [asked, percent(any_false), percent(together)]


# -- looking after every seed ----------------------------------------------------------------------------------


def peeking_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    for name, draw_a, draw_b in PAIRS:
        for most, step in ((20, 1), (100, 1), (100, 5)):
            looks = range(max(2, step), most + 1, step)
            honest, naive = [], []
            for a, b in zip(*paired(rng, draw_a, draw_b, (repetitions, most)), strict=True):
                honest.append(any(anytime_mean((a - b)[:n]).p_value <= 0.05 for n in looks))
                naive.append(naive_winner(a - b, looks))
            yield [name, str(most), str(step), percent(honest), percent(naive)]


def naive_winner(differences: Array, looks: range) -> bool:
    """Whether a t-test at 5 % after each look ever calls a winner."""
    n = np.array(looks)
    mean = differences.cumsum()[n - 1] / n
    variance = ((differences**2).cumsum()[n - 1] - n * mean**2) / (n - 1)
    return bool((np.abs(mean) > scipy.stats.t.isf(0.025, n - 1) * np.sqrt(np.maximum(variance, 1e-30) / n)).any())


def cost_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    for effect in (0.5, 1.0, 2.0, 3.0):
        stops = []
        for differences in rng.normal(effect, 1, (repetitions, 400)):
            shown = (n for n in range(2, 401) if anytime_mean(differences[:n]).low > 0)
            stops.append(next(shown, 400))
        middle, most = np.quantile(stops, [0.5, 0.8])
        yield [f"{effect:g}", str(pairs_needed(effect)), f"{np.mean(stops):.1f}", f"{middle:.0f}", f"{most:.0f}"]


def verb_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    """The whole path: `compare_scores` on three methods after every two seeds, up to twenty."""
    any_false = []
    for scores in SCORES["normal"](rng, (repetitions, 3, 20)):
        looks = ({f"m{i}": row[:n] for i, row in enumerate(scores)} for n in range(2, 21, 2))
        any_false.append(
            any(r.winner for look in looks for r in compare_scores(look, direction="maximize", sequential=True))
        )
    yield ["3 methods, all pairs", "20", "2", percent(any_false)]


# -- overlapping folds, real learners --------------------------------------------------------------------------


def draw_data(rng: np.random.Generator, repetitions: int, rows: int, features: int) -> tuple[Array, Array]:
    """Two classes of equal size; each pair (j, j + D / 2) of features tells the class equally well."""
    y = np.broadcast_to((np.arange(rows) >= rows // 2).astype(int), (repetitions, rows))
    x = rng.normal(size=(repetitions, rows, features))
    x[..., :: features // 2] += 1.2 * y[..., None]
    return x, y


def nearest_mean(x: Array, y: Array, x_test: Array, rng: np.random.Generator) -> Array:
    one = y[..., None] == 1
    mean_0, mean_1 = ((x * part).sum(1, keepdims=True) / part.sum(1, keepdims=True) for part in (~one, one))
    return (((x_test - mean_1) ** 2).sum(2) < ((x_test - mean_0) ** 2).sum(2)).astype(int)


def ridge(x: Array, y: Array, x_test: Array, rng: np.random.Generator) -> Array:
    middle, level = x.mean(1, keepdims=True), (2 * y - 1).mean(1, keepdims=True)
    x_t = (x - middle).transpose(0, 2, 1)
    weights = np.linalg.solve(x_t @ x_t.transpose(0, 2, 1) + np.eye(x.shape[2]), x_t @ (2 * y - 1 - level)[..., None])
    return (((x_test - middle) @ weights)[..., 0] + level > 0).astype(int)


def neighbour(x: Array, y: Array, x_test: Array, rng: np.random.Generator) -> Array:
    distance = (x**2).sum(2)[:, None] - 2 * x_test @ x.transpose(0, 2, 1)
    return np.take_along_axis(y, distance.argmin(2), 1)


def random_network(x: Array, y: Array, x_test: Array, rng: np.random.Generator) -> Array:
    """One hidden layer of 20 random tanh units, its output fitted by ridge: a training whose seed matters."""
    first = rng.normal(size=(len(x), x.shape[2], 20))
    return ridge(np.tanh(x @ first), y, np.tanh(x_test @ first), rng)


LEARNERS = {"nearest mean": nearest_mean, "ridge": ridge, "nearest neighbour": neighbour, "network": random_network}


def half(learner: Callable[..., Array], second: bool) -> Callable[..., Array]:
    """The learner on one half of the features: both halves tell equally much, so the two are equal in expectation."""

    def learn(x: Array, y: Array, x_test: Array, rng: np.random.Generator) -> Array:
        part = slice(x.shape[2] // 2, None) if second else slice(0, x.shape[2] // 2)
        return learner(x[..., part], y, x_test[..., part], rng)

    return learn


def fold_scores(
    learner: Callable[..., Array], x: Array, y: Array, order: Array, folds: int, rng: np.random.Generator
) -> Array:
    """Accuracy on each fold of every data set, shape (R, F); `order` keeps classes apart, so folds are stratified."""
    scores = []
    for fold in range(folds):
        test = np.isin(np.arange(len(order)), order[fold::folds])
        scores.append((learner(x[:, ~test], y[:, ~test], x[:, test], rng) == y[:, test]).mean(1))
    return np.stack(scores, axis=1)


def shuffled(rng: np.random.Generator, rows: int) -> Array:
    return np.concatenate([rng.permutation(rows // 2), rows // 2 + rng.permutation(rows - rows // 2)])


@functools.cache
def expected_score(name: str, on_half: bool, rows: int, features: int) -> float:
    """The truth: mean over 10,000 training sets of `rows` rows, each with 200 new samples."""
    rng, hits = np.random.default_rng(rows), []
    learner = half(LEARNERS[name], False) if on_half else LEARNERS[name]
    for _ in range(20):
        x, y = draw_data(rng, 500, rows, features)
        x_test, y_test = draw_data(rng, 500, 200, features)
        hits.append((learner(x, y, x_test, rng) == y_test).mean())
    return float(np.mean(hits))


def fold_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    settings = [(60, 5, 1, False), (60, 10, 1, False), (200, 10, 1, False)]
    settings += [(100, 5, 4, False), (100, 5, 4, True), (100, 10, 10, True), (100, 10, 15, None)]
    for setting, features, name in itertools.product(settings, (4, 20), LEARNERS):
        yield fold_row(rng, repetitions, setting, name, features)


def fold_row(
    rng: np.random.Generator, repetitions: int, setting: tuple[int, int, int, bool | None], name: str, features: int
) -> list[str]:
    """`resplit` None stands for one fold of each seed alone: repeated random splits."""
    rows, folds, seeds, resplit = setting
    learner, size = LEARNERS[name], rows - rows // folds
    methods = {"whole": learner, "a": half(learner, False), "b": half(learner, True)}
    x, y = draw_data(rng, repetitions, rows, features)
    orders = [shuffled(rng, rows)] * seeds if resplit is False else [shuffled(rng, rows) for _ in range(seeds)]
    scores = {
        key: np.stack([fold_scores(method, x, y, order, folds, rng) for order in orders], axis=1)
        for key, method in methods.items()
    }
    asked = {"direction": "maximize", "resplit": bool(resplit)}
    if resplit is None:
        scores = {key: value[..., 0] for key, value in scores.items()}
        asked["test_to_train"] = 1 / (folds - 1)
    truth = expected_score(name, False, size, features)
    gain = truth - expected_score(name, True, size, features)
    mean, difference, false, usual = [], [], [], []
    for whole, a, b in zip(scores["whole"], scores["a"], scores["b"], strict=True):
        result = summarize_replicates(whole, **asked)
        mean.append(within(result.low, truth, result.high))
        [better] = compare_scores({"whole": whole, "a": a}, **asked)
        difference.append(within(better.low, gain, better.high))
        [null] = compare_scores({"a": a, "b": b}, **asked)
        false.append(null.winner is not None)
        usual.append(student_mean((a - b).reshape(-1), overlap=1 / (folds - 1)).p_value <= 0.05)
    kind = {True: f"{folds} x {seeds} seeds, drawn anew", False: f"{folds} x {seeds} seeds, the same"}
    shape = kind.get(resplit, f"{seeds} random splits") if seeds > 1 else str(folds)
    return [str(rows), shape, name, str(features), *map(percent, (mean, difference, false, usual))]


def leaving_rows(rng: np.random.Generator, repetitions: int) -> Iterator[list[str]]:
    """Eight learners on one rung: the best one must stay."""
    for worse in (0.0, 0.5, 1.5):
        lost, gone = [], []
        for _ in range(repetitions):
            data = rng.normal(0, 0.02, (1, 5)) + rng.normal(0, 0.02, (8, 5))
            leaving = clearly_worse(data - 0.1 * worse * (np.arange(8)[:, None] > 0), direction="maximize")
            lost.append(0 in leaving)
            gone.append(len(leaving) / 7)
        yield [f"{0.1 * worse:g}", percent(lost), f"{100 * np.mean(gone):.0f}"]


# -- the page --------------------------------------------------------------------------------------------------


def write_page(seed: int, repetitions: int) -> None:
    started = time.perf_counter()
    print("# Coverage and false winners, by simulation\n")
    print(f"    python benchmarks/coverage.py --seed {seed} --repetitions {repetitions} --write\n")
    print(
        f"tenfold {tenfold.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}, Python "
        f"{platform.python_version()}. All numbers in percent, ± the Monte-Carlo standard error. {repetitions:,} "
        f"repetitions a row, {2 * repetitions:,} in the first two tables. Nominal: 95 % coverage, 5 % false winners."
    )
    for index, (make, title, truth, head, factor) in enumerate(TABLES):
        rows = make(np.random.default_rng([seed, index]), factor * repetitions)
        table(title, truth, head, rows)
    print(f"\nTook {time.perf_counter() - started:.0f} s on one core.")


TABLES = (
    (
        replicate_rows,
        "`replicate`: independent seeds",
        "Truth: the expected score over all seeds, on the same data and the same test part (0.9). Population of the "
        "forecast: one more seed. Scores are drawn from the distribution named.",
        ["scores", "seeds", "interval of the mean covers", "interval of one more training covers"],
        2,
    ),
    (
        compare_rows,
        "`compare`: independent seeds, two methods",
        "Truth: no difference in expected score over all seeds, on the same data and test part. A seed shifts both "
        "methods alike by a normal amount (standard deviation 0.01), and each by its own draw. In the last rows the "
        "two methods have the same mean and different shapes.",
        ["scores", "seeds", "interval covers", "false winner"],
        2,
    ),
    (
        several_rows,
        "`compare`: five methods, ten seeds",
        "Truth: all five have the same expected score. A false winner in any comparison counts.",
        ["compared", "any false winner", "simultaneous intervals all cover"],
        1,
    ),
    (
        peeking_rows,
        "`compare`, sequential: looking again and again",
        "Truth: as for two methods above. A false winner at any look counts. Beside it what a t-test at 5 % after "
        "each look would do.",
        ["scores", "seeds at most", "a look every", "false winner", "false winner of a repeated t-test"],
        1,
    ),
    (
        verb_rows,
        "`compare`, sequential: the whole path",
        "Truth: three methods with the same expected score. A false winner in any comparison at any look counts.",
        ["compared", "seeds at most", "a look every", "any false winner"],
        1,
    ),
    (
        cost_rows,
        "`compare`, sequential: what looking costs",
        "Normal differences with a true mean of so many standard deviations; a look after every seed. The planned "
        "number gives a single t-test 80 % power.",
        ["true difference / std", "seeds planned for one look", "mean seeds to a verdict", "median", "80 % done by"],
        1,
    ),
    (
        fold_rows,
        "Overlapping folds, real learners",
        "Population: data sets of N rows (two classes of equal size, normal features), folds, seeds. Truth of "
        "`replicate`: the expected accuracy on new samples of a model trained on the rows of N - N / F; of "
        "`compare`: the expected difference between the learner on all D features and on one half of them; for the "
        "false winner, between the learner on one half and on the other, which is zero. The truth is the mean over "
        "10,000 training sets, each with 200 new samples (error below 0.0006). The last rows are 15 random splits of "
        "one tenth. The usual way is the corrected resampled t-test over all scores: its false winners.",
        ["N", "folds", "learner", "D", "`replicate` covers", "`compare` covers", "false winner", "the usual way"],
        1,
    ),
    (
        leaving_rows,
        "Leaving early: eight trials, five folds",
        "Truth: trial 0 is better than the seven others by so much; a fold shifts all alike, and each by its own "
        "normal draw (standard deviation 0.02).",
        ["the best is better by", "the best left", "share of the others that left"],
        1,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} instead of printing")
    options = parser.parse_args()
    page = io.StringIO()
    with contextlib.redirect_stdout(page) if options.write else contextlib.nullcontext():
        write_page(options.seed, options.repetitions)
    if options.write:
        RESULTS.write_text(page.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
