"""`--workers`: reaches training, and changes no bit of it."""

import numpy as np
import pytest
from PIL import Image

import tenfold
from tenfold.core.records import read_records
from tenfold.data.preparing import Preparer

QUICK = {"epochs": 2, "form": "stacked", "threads": 1, "batch_size": 8, "image_size": 24}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of twelve noisy photographs, large enough to be augmented."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, name in enumerate(("dark", "light")):
        (folder / name).mkdir()
        for place in range(12):
            pixels = rng.integers(100 * number, 100 * number + 150, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{place}.png")
    return folder


VERBS = {
    "fit": lambda data, **more: tenfold.fit(data, network="lenet", trials=2, **more),
    "cv": lambda data, **more: tenfold.cross_validate("lenet", data, folds=2, final="none", **more),
}


@pytest.mark.parametrize("verb", VERBS)
def test_workers_reach_training_and_change_no_record(pictures, tmp_path, monkeypatch, verb):
    asked, init = [], Preparer.__init__

    def noted(self, *arguments, workers=None):
        asked.append(workers)
        init(self, *arguments, workers=workers)

    monkeypatch.setattr(Preparer, "__init__", noted)
    records = []
    for workers in (0, 1):
        asked.clear()
        run = VERBS[verb](pictures, workers=workers, out=tmp_path / f"{workers}", **QUICK)
        assert workers in asked
        records.append([r for r in read_records(run.path / "records.jsonl") if r["kind"] == "epoch"])
    assert records[0] == records[1]


def test_fewer_than_no_workers_are_refused(tmp_path):
    with pytest.raises(tenfold.InputError, match="--workers must be a whole number >= 0, got -1"):
        tenfold.fit("iris", workers=-1, out=tmp_path / "run")
