"""A text task plugs in from here: token lists of different length, a collation that pads to the longest of the batch,
and a network that averages embeddings. The reference is a plain PyTorch loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from train_kit import CPU, RowBatches, assert_alone_agrees, finish, make_cohort, member_tensors, records, specs_of

from tenfold.core.seeds import generator
from tenfold.core.task import Batch, Metric, Objective, Task, TaskInfo
from tenfold.train import CohortData

VOCABULARY, BATCH, STEPS = 24, 16, 12
ACCURACY = Metric(name="accuracy", direction="maximize", function=lambda outputs, targets: outputs)


def sentences(count: int) -> list[tuple[list[int], int]]:
    """Token lists of 2 to 11 tokens (0 is the padding); the class is whether low tokens are the more."""
    numbers = generator(1, "sample")
    made = []
    while len(made) < count:
        tokens = numbers.integers(1, VOCABULARY, numbers.integers(2, 12)).tolist()
        low = sum(token < VOCABULARY // 2 for token in tokens)
        if 2 * low != len(tokens):
            made.append((tokens, int(2 * low > len(tokens))))
    return made


def collate(pairs: Sequence[tuple[list[int], int]]) -> Batch:
    """Tokens padded to the longest, int64 (B, T), and classes, int64 (B,)."""
    longest = max(len(tokens) for tokens, _ in pairs)
    padded = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens, _ in pairs])
    return padded, torch.tensor([label for _, label in pairs])


class MeanOfEmbeddings(nn.Module):
    def __init__(self, embed_dim: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, embed_dim, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(embed_dim, 8), nn.ReLU(), nn.Linear(8, 2))
        self.double()

    def forward(self, tokens_BT: Tensor) -> Tensor:
        mask_BT1 = (tokens_BT != 0).double()[..., None]
        return self.head((self.embedding(tokens_BT) * mask_BT1).sum(1) / mask_BT1.sum(1))


class TextTask(Task):
    info = TaskInfo(name="text", metrics={"accuracy": ACCURACY})

    def objectives(self) -> Sequence[Objective]:
        return [
            Objective(
                name="cross_entropy", loss=lambda model, batch, member: F.cross_entropy(model(batch[0]), batch[1])
            )
        ]

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch[0]).argmax(-1)

    def evaluate(self, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, Tensor]:
        right_MB = torch.cat([output == batch[1] for output, batch in zip(outputs, batches, strict=True)], dim=1)
        return {"accuracy": right_MB.double().mean(1)}


SENTENCES = sentences(STEPS * BATCH + 96)


def training(device: torch.device = CPU) -> RowBatches:
    return RowBatches(
        STEPS * BATCH, BATCH, lambda rows: tuple(t.to(device) for t in collate([SENTENCES[i] for i in rows]))
    )


def text_data(device: torch.device = CPU) -> CohortData:
    held = SENTENCES[STEPS * BATCH :]
    batches = [tuple(t.to(device) for t in collate(held[i : i + 32])) for i in range(0, 96, 32)]
    return CohortData(training=lambda size: training(device), validation=lambda members: batches)


CONFIGS = [
    {"lr": lr, "schedule": "constant", "warmup_fraction": 0.0, "batch_size": BATCH, "embed_dim": embed_dim}
    for lr, embed_dim in [(1e-6, 8), (1e-2, 8), (3e-2, 8), (1e-2, 4), (3e-2, 4)]
]
RUNGS = [(3, 3), (8, 3)]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    specs = specs_of(CONFIGS, MeanOfEmbeddings, task=TextTask())
    return finish(make_cohort(specs, TextTask(), text_data(), ACCURACY, RUNGS, folder, steps_per_epoch=STEPS))


def test_two_widths_are_two_stacks_and_learn_to_read(together):
    assert {tuple(member.trial for member in lane.ids) for lane in together.lanes} <= {
        (1, 2),
        (3, 4),
        (1,),
        (2,),
        (3,),
        (4,),
    }
    assert together.best_score() > 0.85


def test_the_one_that_cannot_learn_leaves_midway(together):
    middle = records(together, "rung")[0]
    assert 0 in middle["left"]
    assert len(middle["kept"]) == 3
    assert sum(len(lane) for lane in together.lanes) == 3


@pytest.mark.parametrize("trial", range(5))
def test_alone_it_is_the_same_reader(together, trial, tmp_path):
    spec = specs_of(CONFIGS, MeanOfEmbeddings, task=TextTask())[trial]
    alone = make_cohort(
        [spec], TextTask(), text_data(), ACCURACY, [RUNGS[-1]], tmp_path, steps_per_epoch=STEPS, form="serial"
    )
    assert_alone_agrees(together, finish(alone))


def test_a_member_is_what_a_plain_pytorch_loop_trains(together):
    for member, tensors in member_tensors(together).items():
        spec = specs_of(CONFIGS, MeanOfEmbeddings, task=TextTask())[member.trial]
        model, recipe = spec.make_model(), spec.config.recipe
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        for epoch in range(RUNGS[-1][0]):
            for tokens, labels in training().epoch(epoch, None):
                optimizer.zero_grad()
                F.cross_entropy(model(tokens), labels).backward()
                optimizer.step()
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(tensors[name], tensor, atol=1e-9, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_stack_learns_to_read(tmp_path):
    device = torch.device("cuda")
    specs = specs_of(CONFIGS, MeanOfEmbeddings, task=TextTask())
    cohort = make_cohort(
        specs, TextTask(), text_data(device), ACCURACY, RUNGS, tmp_path, steps_per_epoch=STEPS, device=device
    )
    assert finish(cohort).best_score() > 0.85
