"""The influence of each pixel, against kernels convolved by hand."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tenfold.core.errors import InputError
from tenfold.diagnosis import effective_field


def averaging(depth):
    layers = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(depth)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / 9)
    return nn.Sequential(*layers)


def test_averages_after_one_another_are_their_kernels_convolved():
    field = effective_field(averaging(4), (1, 31, 31))
    line = np.ones(1)
    for _ in range(4):
        line = np.convolve(line, np.ones(3) / 3)
    expected = np.zeros((31, 31))
    expected[11:20, 11:20] = np.outer(line, line) / line.max() ** 2
    assert field.influence == pytest.approx(expected, abs=1e-6)
    assert (field.low, field.high) == ((11, 11), (19, 19))
    assert field.sigma == pytest.approx((np.sqrt(4 * 2 / 3),) * 2, rel=1e-5)  # variances of boxes of three add up
    assert field.size == pytest.approx(np.sqrt((expected > 0.0455).sum()))


def test_the_effective_field_is_smaller_than_that_in_theory():
    field = effective_field(averaging(12), (1, 41, 41))
    assert field.theory.size == (25, 25)
    assert field.size < 15
    assert "of 25 in theory" in str(field)
    assert field.to_json()["theory"]["size"] == [25, 25]


def test_the_layer_before_all_is_mixed_is_looked_at_or_the_one_that_is_named():
    model = nn.Sequential(*averaging(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    assert effective_field(model, (1, 15, 15)).layer == "2"
    assert effective_field(model, (1, 15, 15), layer="0").theory.size == (3, 3)


def test_a_sequence_has_a_field_and_a_picture_too(tmp_path):
    field = effective_field(nn.Sequential(nn.Conv1d(2, 1, 5)), (2, 40))
    assert field.influence.shape == (40,)
    with Image.open(field.save(tmp_path / "field.png")) as picture:
        assert picture.size[0] >= 300


def test_the_picture_is_brightest_in_the_middle_and_framed(tmp_path):
    field = effective_field(averaging(2), (1, 21, 21))
    with Image.open(field.save(tmp_path / "field.png")) as picture:
        pixels = np.asarray(picture).astype(int).sum(-1)
    scale = len(pixels) // 21
    assert pixels[10 * scale + 1, 10 * scale + 1] > pixels[9 * scale + 1, 10 * scale + 1] > pixels[1, 1]
    assert pixels[8 * scale, 10 * scale] == 3 * 255


def test_a_model_keeps_mode_and_gradients():
    model = averaging(2).train()
    effective_field(model, (1, 9, 9))
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: effective_field(nn.Linear(3, 2), (3,)), InputError, "the network has no layer with a map"),
        (lambda: effective_field(averaging(2), (1, 9, 9), layer="3"), InputError, "--layer: no layer '3'. Choose"),
        (
            lambda: effective_field(nn.Sequential(*averaging(1), nn.Flatten()), (1, 9, 9), layer="1"),
            InputError,
            "1 is no layer with a map as its output",
        ),
        (
            lambda: effective_field(averaging(2), (1, 9, 9), samples=0),
            ValueError,
            "samples must be at least 1, got 0",
        ),
        (lambda: effective_field(averaging(1), (1, 9, 9)).save("field.jpg"), InputError, "must be a .png file"),
        (lambda: effective_field(averaging(1), (1, 9, 9)).save("no/field.png"), InputError, "cannot be written"),
    ],
)
def test_a_wrong_call_is_answered_with_the_way_out(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_influence_of_a_network_that_is_blind_is_zero():
    model = averaging(1)
    nn.init.zeros_(model[0].weight)
    field = effective_field(model, (1, 9, 9))
    assert torch.from_numpy(field.influence).eq(0).all()
    assert field.size == 0
