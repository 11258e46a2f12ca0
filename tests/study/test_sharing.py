"""Heads on a frozen backbone: trained on its features, kept as whole models, the same as without sharing."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import tenfold
from tenfold.core.errors import RunError
from tenfold.study import question


def body(seed=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh()).requires_grad_(False)


class Net(nn.Module):
    """A frozen backbone, the same for all, and a head of the member's own."""

    calls = 0

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(24, 10)
        own = torch.get_rng_state()
        self.backbone = body()
        torch.set_rng_state(own)

    def forward(self, x):
        Net.calls += 1
        return self.head(self.backbone(x))


def load(path):
    return tenfold.load(path, network=Net)


OPTIONS = {"trials": 4, "epochs": 3, "batch_size": 64, "form": "stacked", "threads": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One run that shares and one that does not, and how often the whole network ran in each."""
    folder, found = tmp_path_factory.mktemp("sharing"), {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("shared", "apart"):
            if name == "apart":
                patch.setattr(question, "shared_by", lambda *_: None)
            Net.calls = 0
            run = tenfold.fit("digits", network=Net, out=folder / name, **OPTIONS)
            found[name] = (run, Net.calls)
    return found


def test_the_run_says_what_is_shared(runs):
    run, calls = runs["shared"]
    assert json.loads((run.path / "run.json").read_text())["shared"] == ["head", None]
    assert runs["apart"][0].info["shared"] is None
    assert calls < runs["apart"][1] / 2


def test_scores_are_those_of_whole_networks(runs):
    (shared, _), (apart, _) = runs["shared"], runs["apart"]
    assert list(shared.leaderboard()["trial"]) == list(apart.leaderboard()["trial"])
    assert shared.result["valid"]["mean"] == pytest.approx(apart.result["valid"]["mean"], abs=0.01)
    assert shared.result["test"]["value"] == pytest.approx(apart.result["test"]["value"], abs=0.01)


def test_the_model_that_is_kept_is_whole(runs):
    run, _ = runs["shared"]
    model = load(run.path)
    [part] = model.parts
    assert isinstance(part.module, Net)
    for own, shared in zip(part.module.backbone.parameters(), body().parameters(), strict=True):
        assert torch.equal(own, shared)
    images = np.random.default_rng(0).uniform(0, 16, (5, 1, 8, 8)).astype(np.float32)
    assert model.predict(images).shape == (5,)


@pytest.mark.parametrize("final", ["refit", "average"])
def test_other_final_models_are_whole_too(tmp_path, final):
    run = tenfold.fit("digits", network=Net, out=tmp_path / "run", final=final, **OPTIONS)
    parts = load(run.path).parts
    assert all(torch.equal(next(part.module.backbone.parameters()), next(body().parameters())) for part in parts)
    assert run.result["test"]["value"] > 0.2


def test_a_search_in_generations_shares(tmp_path):
    space = {"lr": tenfold.Float(1e-3, 1e-1, log=True)}
    run = tenfold.search(Net, "digits", space, sampler="tpe", population=3, out=tmp_path / "run", **OPTIONS)
    assert run.info["shared"] == ["head", None]
    assert run.result["trials"] == 4


def test_a_later_trial_with_another_backbone_is_told_apart(tmp_path):
    class Other(Net):
        def __init__(self, width=1):
            super().__init__()
            if width == 9:
                self.backbone = body(seed=9)

    space = {"width": tenfold.Int(1, 9)}
    with pytest.raises(RunError, match="the frozen first part of its network must be that of the trials before it"):
        tenfold.search(
            Other, "digits", space, sampler="tpe", halving="none", population=2, out=tmp_path / "run",
            enqueue=[{"width": 1}, {"width": 2}, {"width": 9}, {"width": 3}], **OPTIONS,
        )  # fmt: skip


def test_a_run_that_was_stopped_goes_on_with_what_it_shared(tmp_path):
    class StopError(Exception):
        pass

    class Stopping(tenfold.study.job.Listener):
        def progress(self, progress):
            if progress.epoch == 2:
                raise StopError

    for name in ("whole", "stopped"):
        stops = {"listener": Stopping()} if name == "stopped" else {}
        try:
            tenfold.fit("digits", network=Net, out=tmp_path / name, **OPTIONS, **stops)
        except StopError:
            tenfold.fit("digits", network=Net, out=tmp_path / name, resume=True, **OPTIONS)
    whole, stopped = ((tmp_path / name / "records.jsonl").read_text().splitlines() for name in ("whole", "stopped"))
    assert whole == stopped


def test_without_sharing_later_trials_may_bring_another_backbone(tmp_path):
    class Other(Net):
        def __init__(self, width=1):
            super().__init__()
            if width == 9:
                self.backbone = body(seed=9)

    run = tenfold.search(
        Other, "digits", {"width": tenfold.Int(1, 9)}, sampler="tpe", halving="none", population=2, no_sharing=True,
        enqueue=[{"width": 1}, {"width": 2}, {"width": 9}, {"width": 3}], out=tmp_path / "run", **OPTIONS,
    )  # fmt: skip
    assert run.info["shared"] is None
    assert run.result["trials"] == 4
