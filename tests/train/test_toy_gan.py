"""A GAN plugs in from here: two objectives with a part of the model each, noise from the member's streams, and a
metric that knows no target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from train_kit import (
    CPU,
    RowBatches,
    assert_alone_agrees,
    finish,
    make_cohort,
    member_tensors,
    records,
    specs_of,
)

import tenfold
from tenfold.core.task import Batch, Metric, Objective, Task, TaskInfo
from tenfold.train import CohortData, plan_stacks

MEAN, STD = 2.0, 0.5
STEPS, BATCH = 40, 64
DISTANCE = Metric(name="distance", direction="minimize", function=lambda outputs, targets: outputs)


class Powers(nn.Module):
    """A number and its square, which tell means and spreads apart."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.square()], -1)


class Gan(nn.Module):
    """Generator and discriminator of numbers."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.discriminator = nn.Sequential(Powers(), nn.Linear(2, hidden), nn.Softplus(), nn.Linear(hidden, 1))
        self.double()

    def fakes(self, streams: Any, count: int) -> Tensor:
        return self.generator(streams.normal((count, 2), torch.float64))


class GanTask(Task):
    info = TaskInfo(name="gan", metrics={"distance": DISTANCE})

    def objectives(self) -> Sequence[Objective]:
        def discriminator_loss(model: nn.Module, batch: Batch, member: Any) -> Tensor:
            real, fake = batch[0], model.fakes(member.streams, len(batch[0])).detach()
            slope = torch.func.grad(lambda x: model.discriminator(x).sum())(real)  # R1 (Mescheder et al. 2018, eq. 9)
            penalty = 0.3 * slope.square().mean()
            return (
                F.softplus(-model.discriminator(real)).mean() + F.softplus(model.discriminator(fake)).mean() + penalty
            )

        def generator_loss(model: nn.Module, batch: Batch, member: Any) -> Tensor:
            return F.softplus(-model.discriminator(model.fakes(member.streams, len(batch[0])))).mean()

        return [
            Objective(name="discriminator", loss=discriminator_loss, parameters=("discriminator.*",)),
            Objective(name="generator", loss=generator_loss, parameters=("generator.*",)),
        ]

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        return model.fakes(tenfold.member_streams(), 512)

    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        fakes_MB = torch.cat(list(outputs), dim=1)[..., 0]
        return {"distance": (fakes_MB.mean(1) - MEAN).abs() + (fakes_MB.std(1) - STD).abs()}


def gan_data(device: torch.device = CPU) -> CohortData:
    real = torch.randn(STEPS * BATCH, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * STD + MEAN
    real = real.to(device)
    provider = RowBatches(len(real), BATCH, lambda rows: (real[rows],))
    return CohortData(training=lambda batch_size: provider, validation=lambda members: [()])


CONFIGS = [{"lr": lr, "schedule": "constant", "batch_size": BATCH} for lr in (1e-6, 2e-3, 4e-3, 8e-3)]
RUNGS = [(3, 3), (10, 3)]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan")
    specs = specs_of(CONFIGS, Gan, task=GanTask())
    return finish(make_cohort(specs, GanTask(), gan_data(), DISTANCE, RUNGS, folder, steps_per_epoch=STEPS))


def test_generators_come_near_the_distribution(together):
    first = {r["trial"]: r["valid"]["distance"] for r in records(together) if r["epoch"] == 1}
    assert min(lane.best_score_M.min().item() for lane in together.lanes) < 0.4
    assert first[0] > 1.2


def test_the_one_that_cannot_learn_leaves_midway(together):
    (middle, _) = records(together, "rung")
    assert middle["left"] == [0]
    assert len(together.lanes) == 1
    assert [member.trial for member in together.lanes[0].ids] == [1, 2, 3]


@pytest.mark.parametrize("trial", range(4))
def test_alone_it_is_the_same_gan(together, trial, tmp_path):
    spec = specs_of(CONFIGS, Gan, task=GanTask())[trial]
    rungs = [RUNGS[-1]]
    alone = make_cohort(
        [spec], GanTask(), gan_data(), DISTANCE, rungs, tmp_path, steps_per_epoch=STEPS, form="serial"
    )
    assert_alone_agrees(together, finish(alone))


def test_each_objective_moves_its_own_part_only(tmp_path):
    class OnlyDiscriminator(GanTask):
        def objectives(self) -> Sequence[Objective]:
            return super().objectives()[:1]

    task = OnlyDiscriminator()
    cohort = make_cohort(
        specs_of(CONFIGS, Gan, task=task), task, gan_data(), DISTANCE, [(1, 4)], tmp_path, steps_per_epoch=STEPS
    )
    before = member_tensors(cohort)
    after = member_tensors(finish(cohort))
    for member, tensors in after.items():
        moved = {name for name, tensor in tensors.items() if not torch.equal(tensor, before[member][name])}
        assert moved == {name for name in tensors if name.startswith("discriminator.")}


def test_the_planner_measures_a_gan_on_a_real_batch():
    batch = (torch.zeros(BATCH, 1, dtype=torch.float64),)
    plan = plan_stacks(specs_of(CONFIGS, Gan, task=GanTask()), GanTask(), lambda size: batch, device=CPU)
    assert sorted(place for planned in plan for place in planned.places) == [0, 1, 2, 3]
    assert all("ms a member-step" in planned.reason for planned in plan)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_generators_come_near_the_distribution(tmp_path):
    device = torch.device("cuda")
    specs = specs_of(CONFIGS, Gan, task=GanTask())
    cohort = make_cohort(
        specs, GanTask(), gan_data(device), DISTANCE, RUNGS, tmp_path, steps_per_epoch=STEPS, device=device
    )
    finish(cohort)
    assert min(lane.best_score_M.min().item() for lane in cohort.lanes) < 0.4
