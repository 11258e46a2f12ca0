"""Small data, small searches, on one thread: threads that wait for each other cost more than they bring here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tenfold
from tenfold.study import Run


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Run]:
    """`tenfold.fit` with few trials and epochs, into a folder of the test's own."""

    def run(data: Any, **options: Any) -> Run:
        return tenfold.fit(data, **{"trials": 2, "epochs": 3, "out": tmp_path / "run", "threads": 1} | options)

    return run


@pytest.fixture(scope="session")
def classes() -> pd.DataFrame:
    """Two classes of 120 rows, told apart by a line."""
    draws = np.random.default_rng(0).normal(size=(120, 3))
    answer = np.where(draws[:, 0] + draws[:, 1] > 0, "above", "below")
    return pd.DataFrame(draws, columns=["a", "b", "c"]).assign(answer=answer)


@pytest.fixture(scope="session")
def prices() -> pd.DataFrame:
    """A regression of 120 rows whose target is far from 0 and widely spread."""
    draws = np.random.default_rng(1).normal(size=(120, 3))
    price = 50_000 + 9_000 * draws[:, 0] - 4_000 * draws[:, 1]
    return pd.DataFrame(draws, columns=["a", "b", "c"]).assign(price=price)
