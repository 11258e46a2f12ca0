"""A detector plugs in from here: pictures with none to three boxes each, kept ragged by the collation, a loss that
matches predictions with boxes, and recall at IoU 0.5. The reference is a plain PyTorch loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou
from train_kit import CPU, RowBatches, assert_alone_agrees, finish, make_cohort, member_tensors, records, specs_of

from tenfold.core.seeds import generator
from tenfold.core.task import Batch, Metric, Objective, Task, TaskInfo
from tenfold.train import CohortData, plan_stacks

# B pictures, G x G cells = P predictions, N boxes of a whole batch
SIDE, GRID, BATCH, STEPS = 16, 4, 16, 10
RECALL = Metric(name="recall", direction="maximize", function=lambda outputs, targets: outputs)


def picture(number: int) -> tuple[Tensor, Tensor]:
    """A picture (1, 16, 16) and its boxes (n, 4) as x1, y1, x2, y2 in [0, 1], n in 0 to 3."""
    numbers = generator(2, "sample", number)
    image = torch.from_numpy(numbers.normal(0, 0.05, (1, SIDE, SIDE)))
    quarters = numbers.permutation(4)[: number % 4]
    boxes = []
    for quarter in quarters.tolist():
        width, height = numbers.integers(4, 8, 2).tolist()
        x = (quarter % 2) * 8 + int(numbers.integers(0, 9 - width))
        y = (quarter // 2) * 8 + int(numbers.integers(0, 9 - height))
        image[0, y : y + height, x : x + width] += 1.0
        boxes.append([x, y, x + width, y + height])
    return image, torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4) / SIDE


def collate(pairs: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    """Pictures (B, 1, 16, 16) and a list of B box tensors, each with as many rows as its picture has boxes."""
    return torch.stack([image for image, _ in pairs]), [boxes for _, boxes in pairs]


class Detector(nn.Module):
    """One box and one score for each of 4 x 4 cells."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.ReLU(), nn.Conv2d(2 * width, 5, 1))
        cells = torch.stack(torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="xy"), -1).reshape(-1, 2)
        self.register_buffer("centres_P2", (cells + 0.5) / GRID)
        self.double()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, P) and boxes (B, P, 4)."""
        raw_BP5 = self.head(self.body(images)).flatten(2).transpose(1, 2)
        centre = self.centres_P2 + raw_BP5[..., 1:3].tanh() / GRID
        half = 0.3 * raw_BP5[..., 3:].sigmoid()
        return raw_BP5[..., 0], torch.cat([centre - half, centre + half], -1)


def detection_loss(model: nn.Module, batch: Batch, member: Any) -> Tensor:
    """Every box takes the prediction that is nearest to it; the others should say that there is nothing."""
    images, boxes = batch
    score_BP, box_BP4 = model(images)
    count = max(sum(len(own) for own in boxes), 1)
    wanted_BP, distance = [], 0.0
    for predicted_P4, own in zip(box_BP4, boxes, strict=True):
        apart_nP = (own[:, None] - predicted_P4[None]).abs().sum(-1)
        nearest_nP = (
            apart_nP.argmin(-1, keepdim=True) == torch.arange(len(predicted_P4), device=own.device)
        ).double()
        wanted_BP.append(nearest_nP.sum(0).clamp(max=1.0))
        distance = distance + (apart_nP * nearest_nP).sum()
    return F.binary_cross_entropy_with_logits(score_BP, torch.stack(wanted_BP)) + distance / count


class DetectionTask(Task):
    info = TaskInfo(name="detection", metrics={"recall": RECALL})

    def objectives(self) -> Sequence[Objective]:
        return [Objective(name="detection", loss=detection_loss)]

    def predict(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        score, boxes = model(batch[0])
        return {"score": score, "boxes": boxes}

    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        members = len(outputs[0]["score"])
        found, boxes = torch.zeros(members, dtype=torch.float64), 0
        for output, (_, targets) in zip(outputs, batches, strict=True):
            for place, own in enumerate(targets):
                boxes += len(own)
                for member in range(members):
                    sure = output["score"][member, place] > 0
                    overlap = box_iou(own, output["boxes"][member, place][sure])
                    found[member] += (overlap > 0.5).any(1).sum().cpu()
        return {"recall": found / boxes}


PICTURES = [picture(number) for number in range(BATCH * STEPS + 48)]


def put(batch: Batch, device: torch.device) -> Batch:
    return batch[0].to(device), [boxes.to(device) for boxes in batch[1]]


def training(device: torch.device = CPU) -> RowBatches:
    return RowBatches(BATCH * STEPS, BATCH, lambda rows: put(collate([PICTURES[i] for i in rows]), device))


def detector_data(device: torch.device = CPU) -> CohortData:
    held = put(collate(PICTURES[BATCH * STEPS :]), device)
    return CohortData(training=lambda size: training(device), validation=lambda members: [held])


CONFIGS = [
    {"lr": lr, "schedule": "constant", "warmup_fraction": 0.0, "batch_size": BATCH, "clip_norm": 1.0}
    for lr in (1e-6, 5e-3, 7e-3)
]
RUNGS = [(9, 2), (14, 2)]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    specs = specs_of(CONFIGS, Detector, task=DetectionTask())
    return finish(make_cohort(specs, DetectionTask(), detector_data(), RECALL, RUNGS, folder, steps_per_epoch=STEPS))


def test_boxes_stay_ragged_and_are_found(together):
    _, boxes = next(training().epoch(0, None))
    assert {len(own) for own in boxes} == {0, 1, 2, 3}
    assert together.best_score() > 0.7
    assert together.lanes[0].stack.form == "stacked"


def test_the_one_that_cannot_learn_leaves_midway(together):
    assert records(together, "rung")[0]["left"] == [0]
    assert [member.trial for member in together.lanes[0].ids] == [1, 2]


@pytest.mark.parametrize("trial", range(3))
def test_alone_it_is_the_same_detector(together, trial, tmp_path):
    spec = specs_of(CONFIGS, Detector, task=DetectionTask())[trial]
    alone = make_cohort(
        [spec],
        DetectionTask(),
        detector_data(),
        RECALL,
        [RUNGS[-1]],
        tmp_path,
        steps_per_epoch=STEPS,
        form="serial",
    )
    assert_alone_agrees(together, finish(alone))


def test_a_member_is_what_a_plain_pytorch_loop_trains(together):
    spec = specs_of(CONFIGS, Detector, task=DetectionTask())[1]
    model, recipe = spec.make_model(), spec.config.recipe
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    for epoch in range(RUNGS[-1][0]):
        for batch in training().epoch(epoch, None):
            optimizer.zero_grad()
            detection_loss(model, batch, None).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(member_tensors(together)[spec.id][name], tensor, atol=1e-8, rtol=0)


def test_a_batch_without_any_box_is_a_batch(tmp_path):
    empty = collate([PICTURES[number] for number in range(0, 4 * BATCH, 4)])
    provider = RowBatches(BATCH, BATCH, lambda rows: empty)
    data = CohortData(training=lambda size: provider, validation=detector_data().validation)
    specs = specs_of(CONFIGS, Detector, task=DetectionTask())
    cohort = finish(make_cohort(specs, DetectionTask(), data, RECALL, [(1, 3)], tmp_path, steps_per_epoch=1))
    assert all(torch.isfinite(tensor).all() for own in member_tensors(cohort).values() for tensor in own.values())


def test_the_planner_measures_a_ragged_batch():
    batch = next(training().epoch(0, None))
    specs = specs_of(CONFIGS, Detector, task=DetectionTask())
    plan = plan_stacks(specs, DetectionTask(), lambda size: batch, device=CPU, form="stacked")
    assert [planned.form for planned in plan] == ["stacked"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_boxes_are_found(tmp_path):
    device = torch.device("cuda")
    specs = specs_of(CONFIGS, Detector, task=DetectionTask())
    cohort = make_cohort(
        specs, DetectionTask(), detector_data(device), RECALL, RUNGS, tmp_path, steps_per_epoch=STEPS, device=device
    )
    assert finish(cohort).best_score() > 0.7
