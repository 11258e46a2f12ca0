"""With augmentation and dropout on, a member is what it is alone, in a stack of 7, and in one of 64 that 57 leave."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import StochasticDepth

from tenfold.data import ArrayInputs, Augmentation, Batches, DataPart, Source, TargetEncoder, fit_preprocessor
from tenfold.testing import check_leaving_on_the_way

ROWS = 32


def augmented_batches(workers=0, augment=True):
    """Two epochs of pictures, each changed by draws of its own."""
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (ROWS, 3, 48, 48), dtype=np.uint8)
    targets = np.arange(ROWS) % 3
    source = Source(
        name="pictures", kind="image", inputs=ArrayInputs(pictures), targets=targets, task="classification"
    )
    rows = np.arange(ROWS)
    preprocessor = fit_preprocessor(source.inputs, rows, augment=Augmentation())
    encoder = TargetEncoder.fit(source.targets, source.task, rows)
    part = DataPart.of(source, rows, preprocessor, encoder)
    stream = Batches(part, preprocessor, batch_size=8, seed=3, augment=augment, workers=workers)
    return [(inputs[0].clone(), targets.clone()) for epoch in (0, 1) for inputs, targets in stream.epoch(epoch)]


class Net(nn.Module):
    """A small residual network: batch norm, a block left out at random, dropout of channels and of elements."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), StochasticDepth(0.3, "row")
        )
        self.head = nn.Sequential(
            nn.Dropout2d(0.2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, 3)
        )

    def forward(self, x):
        x = self.stem(x)
        return self.head(F.relu(x + self.block(x)))


def loss(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_members_agree_alone_among_7_and_among_64_of_whom_57_leave(dtype):
    batches = augmented_batches()
    plain = augmented_batches(augment=False)
    assert all(
        torch.equal(y, y_0) and not torch.equal(x, x_0) for (x, y), (x_0, y_0) in zip(batches, plain, strict=True)
    )
    check_leaving_on_the_way(Net, batches, loss, dtype=dtype, num_steps=8, rungs=((2, 40), (4, 15), (6, 7)))


@pytest.mark.parametrize("workers", [1, 4])
def test_the_batches_are_the_same_bits_with_any_number_of_workers(workers):
    for (x, y), (x_0, y_0) in zip(augmented_batches(workers), augmented_batches(), strict=True):
        assert torch.equal(x, x_0)
        assert torch.equal(y, y_0)
