"""Pictures that are nearly copies of pictures in another part: re-encoded, resized, brighter, or mirrored.

Each picture becomes a small one of 8x8 pixels, less its mean and divided by its contrast, so that brightness does not
count. How near is too near differs from data to data: digits are alike, photographs are not. So the nearest neighbour
is held against the fifth. Where pictures lie with some density in m dimensions, the ratio r of the two distances is
below t by chance with probability 4 t^m or less, whatever the density. m is read from the fifth and the tenth
neighbour, which copies seldom are, and t chosen so that 0.05 pairs are expected by chance in all. A copy besides has
a correlation of at least 0.97.

Photographs are told apart with ease: of copies at two thirds of the size, brighter by 30 of 255, or mirrored, all are
found and nothing else. In small pictures less is left to go by: at 28 pixels a copy at half the size is another
picture. Digits cut into five folds raise no alarm (`tests/data/test_near_copies.py`, ten seeds); what is found in
Fashion-MNIST, some two dozen pairs in 22,000 pictures that are asked for, are twice the same article of clothing by
eye. More than four copies of one picture hide one another. 70,000 pictures of 28x28 take 3 s on two cores.

D numbers of a small picture, N pictures, Q of them asked for, R of them to choose from
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tenfold.core.seeds import generator
from tenfold.data.duplicates import content_hashes, sample_names, shown_samples, spread_over_parts
from tenfold.data.findings import Finding
from tenfold.data.inputs import ArrayInputs, ImageFileInputs, Inputs
from tenfold.data.scratch import gather
from tenfold.data.source import Source

SIDE = 8
NEIGHBOURS = 5
BY_CHANCE = 0.05  # pairs expected where there is no copy
LARGEST_DISTANCE = 0.25  # a correlation of 0.97
EQUAL = 1e-3  # below this a distance is rounding
SAMPLE = 1000
FEWEST = 30
FLAT = 0.01  # of the usual contrast
MAX_PAIRS = 2_000_000_000
CHUNK_PAIRS = 50_000_000
CHUNK_NUMBERS = 10_000_000  # of pictures that are made small at once
ROWS = 256  # of queries that are compared at once: their products stay in the caches


class _Near(NamedTuple):
    """A pair of rows and the distance of their small pictures; whether one of them had to be mirrored."""

    row: int
    other: int
    distance: float
    mirrored: bool


def find_near_copies(source: Source, parts: Mapping[str, np.ndarray], *, seed: int) -> list[Finding]:
    """Pictures of one part that are nearly, but not exactly, those of another.

    Args:
        source: what was cut.
        parts: the rows of each part, by its name.
        seed: of the rows from which the dimension is estimated.

    Returns:
        One finding, or none. Its rows stand in pairs, the nearest first.

    Example:
        >>> from tenfold.data import read
        >>> find_near_copies(read("digits"), {"train": np.arange(900), "valid": np.arange(900, 1797)}, seed=0)
        []

    References:
        Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
            information", Scientific Reports 7, 2017: ratios of distances do not depend on the density.
        Denti, Doimo, Laio and Mira, "The generalized ratios intrinsic dimension estimator", Scientific Reports 12,
            2022: those of farther neighbours; here by their expected logarithm, (1/5 + ... + 1/9) / m.
    """
    rows = np.concatenate(list(parts.values()))
    part = np.repeat(np.arange(len(parts)), [len(some) for some in parts.values()])
    if len(parts) < 2 or len(rows) < FEWEST or (small := _small_pictures(source.inputs, rows)) is None:
        return []
    kept = _with_contrast(small)
    if len(kept) < FEWEST:
        return []
    small_ND, mirrored_ND = (_standardised(pictures[kept]) for pictures in (small, small.flip(-1)))
    rows, part = rows[kept.numpy()], part[kept.numpy()]
    hashes = content_hashes(source.inputs)
    is_copy = np.zeros(len(rows), bool) if hashes is None else spread_over_parts(hashes[rows], part)
    ratio = _ratio_by_chance(small_ND, seed)
    pairs: dict[tuple[int, int], _Near] = {}
    asked, whole = 0, 0
    for mine, others in _asked(part):
        queries, share = _at_most(mine[~is_copy[mine]], len(others), seed)
        asked, whole = asked + len(queries), whole + share
        for place, asked_ND in enumerate((small_ND, mirrored_ND)):
            for near in _near(asked_ND, small_ND, queries, others, ratio, mirrored=bool(place)):
                key = (min(near.row, near.other), max(near.row, near.other))
                if key not in pairs or near.distance < pairs[key].distance:
                    pairs[key] = near
    found = sorted(pairs.values(), key=lambda pair: pair.distance)
    return [_told(source, rows, found, asked, whole)] if found else []


def _small_pictures(inputs: Inputs, rows: np.ndarray) -> Tensor | None:
    """Pictures of at most 8x8 pixels, float32, shape (N, C, h, w); None of what are no pictures."""
    if isinstance(inputs, ArrayInputs):
        images = inputs.images
    elif isinstance(inputs, ImageFileInputs):
        images, rows = inputs.pixels, inputs.rows[rows]
    else:
        return None
    size = min(SIDE, images.shape[2]), min(SIDE, images.shape[3])
    chunks = np.array_split(rows, max(1, len(rows) * images[0].size // CHUNK_NUMBERS))
    read = (torch.from_numpy(gather(images, chunk)).float() for chunk in chunks)
    return torch.cat([F.adaptive_avg_pool2d(pictures, size) for pictures in read])


def _with_contrast(small: Tensor) -> Tensor:
    """The places of pictures that are not of one tone."""
    contrast_N = _centred(small).norm(dim=1)
    return torch.nonzero(contrast_N > FLAT * contrast_N.median()).flatten()


def _centred(small: Tensor) -> Tensor:
    return (small - small.mean(dim=(2, 3), keepdim=True)).flatten(1)


def _standardised(small: Tensor) -> Tensor:
    """Without the mean of each channel and of norm one, shape (N, D): products are then correlations."""
    return F.normalize(_centred(small), dim=1)


def _distances(products: Tensor) -> Tensor:
    return (2 - 2 * products).clamp(min=0).sqrt()


def _ratio_by_chance(small_ND: Tensor, seed: int) -> float:
    """The ratio of first to fifth distance below which chance brings 0.05 of N pictures."""
    num = len(small_ND)
    places = torch.from_numpy(generator(seed, "sample", 2).permutation(num)[:SAMPLE])
    logs = []
    for chunk in places.split(max(1, CHUNK_PAIRS // num)):
        products = small_ND[chunk] @ small_ND.T
        products[torch.arange(len(chunk)), chunk] = -1.0
        distances = _distances(products.topk(2 * NEIGHBOURS, dim=1).values).double().clamp(min=EQUAL)
        logs.append((distances[:, -1] / distances[:, NEIGHBOURS - 1]).log())
    mean = float(torch.cat(logs).mean())
    if not mean > 0:
        return 0.0
    dimension = sum(1 / number for number in range(NEIGHBOURS, 2 * NEIGHBOURS)) / mean
    return float((BY_CHANCE / num / (NEIGHBOURS - 1)) ** (1 / dimension))


def _asked(part: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each part but the largest its places, and those of all others: every pair of parts is met once at least."""
    sizes = np.bincount(part)
    for number in range(len(sizes)):
        if number != sizes.argmax() and sizes[number]:
            yield np.flatnonzero(part == number), np.flatnonzero(part != number)


def _at_most(queries: np.ndarray, others: int, seed: int) -> tuple[np.ndarray, int]:
    """As many of the places as are compared in some seconds, drawn at random, and how many there were."""
    most = max(1, MAX_PAIRS // max(1, others))
    if len(queries) <= most:
        return queries, len(queries)
    return np.sort(generator(seed, "sample", 3).permutation(queries)[:most]), len(queries)


def _near(
    asked_ND: Tensor, small_ND: Tensor, queries: np.ndarray, others: np.ndarray, ratio: float, *, mirrored: bool
) -> Iterator[_Near]:
    """The pairs that are too near for chance."""
    if len(others) < NEIGHBOURS:
        return
    asked_QD, others_RD = asked_ND[torch.from_numpy(queries)], small_ND[torch.from_numpy(others)]
    for chunk in _candidates(asked_QD, others_RD, ratio).split(max(1, CHUNK_PAIRS // len(others))):
        best = (asked_QD[chunk] @ others_RD.T).topk(NEIGHBOURS, dim=1)
        distances = _distances(best.values)
        for place in torch.nonzero(distances[:, 0] <= ratio * distances[:, -1]).flatten().tolist():
            query, other = int(queries[int(chunk[place])]), int(others[int(best.indices[place, 0])])
            yield _Near(query, other, float(distances[place, 0]), mirrored)


def _candidates(asked_QD: Tensor, others_RD: Tensor, ratio: float) -> Tensor:
    """The places of queries that may have a copy, int64: all that do, and few besides.

    Along any direction two pictures are no farther apart than in all. So a query is compared with those alone that
    lie near it along the widest one: their nearest is right if it is a copy, and their fifth is no nearer than the
    true one.
    """
    axis_D = torch.linalg.eigh(others_RD.T @ others_RD).eigenvectors[:, -1]
    along_R, order_R = (others_RD @ axis_D).sort()
    along_Q, order_Q = (asked_QD @ axis_D).sort()
    others_RD, found = others_RD[order_R], []
    for along, places in zip(along_Q.split(ROWS), order_Q.split(ROWS), strict=True):
        ends = torch.stack([along[0] - LARGEST_DISTANCE, along[-1] + LARGEST_DISTANCE])
        first, last = torch.searchsorted(along_R, ends).tolist()
        if first == last:
            continue
        best = (asked_QD[places] @ others_RD[first:last].T).topk(min(NEIGHBOURS, last - first), dim=1)
        distances = _distances(best.values)
        fifth = distances[:, -1] if last - first >= NEIGHBOURS else torch.full((len(places),), torch.inf)
        near = (distances[:, 0] <= LARGEST_DISTANCE) & (distances[:, 0] <= ratio * fifth)
        found.append(places[near])
    return torch.cat(found) if found else torch.empty(0, dtype=torch.int64)


def _told(source: Source, rows: np.ndarray, found: list[_Near], asked: int, whole: int) -> Finding:
    pairs = rows[np.array([(near.row, near.other) for near in found])].ravel()
    mirrored = sum(near.mirrored for near in found)
    count = f"{len(found)} pairs of pictures in different parts are" if len(found) > 1 else "A pair of pictures is"
    turned = f", {mirrored} of them mirrored" if mirrored else ""
    looked = f" ({asked:,} of {whole:,} pictures were held against those of other parts)" if asked < whole else ""
    return Finding(
        kind="near-duplicates",
        severity="warning",
        sentence=f"{count} nearly the same{turned}, such as {shown_samples(source, pairs[:2])}{looked}. Scores on "
        "them measure memory: look at them, and remove the copies, or keep them together by --group.",
        number=len(found),
        rows=pairs,
        names=sample_names(source, pairs),
    )
