"""`tenfold inspect` as a user types it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from forked_command import Finished
from PIL import Image

Command = Callable[..., Finished]


def test_json_is_one_line_with_totals_and_layers(tenfold: Command) -> None:
    done = tenfold("inspect", "resnet18", "--input", "3x224x224", "--classes", 1000, "--json")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 1
    answer = done.answer
    assert answer["parameters"] == 11_689_512
    assert answer["flops"] == 3_628_146_688
    assert answer["receptive_field"]["size"] == [435, 435]
    assert sum(layer["parameters"] for layer in answer["layers"]) == answer["parameters"]


def test_the_table_has_80_columns_and_a_row_a_layer(tenfold: Command) -> None:
    done = tenfold("inspect", "lenet", "--input", "1x28x28", "--depth", 1)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.out.startswith("lenet on 1x28x28: 61.7 k parameters")
    assert "61,706" in done.out


def test_a_file_of_ones_own_is_found_in_the_current_directory(tenfold: Command, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from torch import nn\ndef make(width=4):\n    return nn.Linear(3, width)\n")
    assert tenfold("inspect", "own:make", "--input", 3, "--config", "width=5", "--json").answer["flops"] == 30


def test_data_shows_the_health_of_gradients(tenfold: Command) -> None:
    done = tenfold("inspect", "mlp", "--data", "digits", "--steps", 2)
    assert done.code == 0
    assert "Nothing is wrong with the gradients of 2 training steps." in done.out
    sick = tenfold("inspect", "mlp", "--data", "digits", "--steps", 2, "--json", "--config", "depth=30",
                   "--config", "activation=relu", "--config", "hidden=16")  # fmt: skip
    assert sick.answer["findings"][0]["kind"] == "vanishing"
    assert len(sick.answer["health"]["layers"]) == 31


def test_the_effective_field_is_written_as_a_picture(tenfold: Command, tmp_path: Path) -> None:
    done = tenfold("inspect", "lenet", "--input", "1x28x28", "--field", "field.png")
    assert done.code == 0
    assert "of 16 in theory" in done.out
    with Image.open(tmp_path / "field.png") as picture:
        assert picture.size >= (384, 384)


def test_several_networks_stand_side_by_side(tenfold: Command, tmp_path: Path) -> None:
    done = tenfold("inspect", "linear", "mlp", "lenet", "--input", "1x28x28", "--plot", "costs.html")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert all(name in done.out for name in ("linear", "mlp", "lenet", "FLOPs"))
    assert (tmp_path / "costs.html").read_text().count("<svg viewBox") == 2
    rows = tenfold("inspect", "linear", "lenet", "--input", "1x28x28", "--json").answer["networks"]
    assert [row["name"] for row in rows] == ["linear", "lenet"]
    assert all(row["seconds"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("lenett",), "unknown network 'lenett'. Did you mean 'lenet'?"),
        (("lenet", "--input", "28by28"), "--input: must be sizes with x between, got '28by28'. Write 3x224x224"),
        (("lenet", "--input", "1x4x4"), "lenet: images must be at least"),
        (("nowhere:make", "--input", "3"), "nowhere:make: no module 'nowhere'"),
        (("nowhere:x:", "--input", "3"), "nowhere:x:: no module 'nowhere'"),
        (("lenet", "--plot", "a.html"), "--plot is of several networks"),
        (("lenet", "mlp", "--field", "a.png"), "--field is of one network alone"),
        (("lenet", "--layer", "features"), "--layer is of --field"),
        (("lenet", "--field", "field.gif"), "--field: must be a .png file"),
        (("lenet", "--data", "digitz"), "digitz: no such file or folder"),
        ((), "Missing argument"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], sentence: str, tenfold: Command) -> None:
    done = tenfold("inspect", *arguments)
    assert done.code == 2
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


def test_a_network_that_fails_is_one_sentence_without_torchs_log(tenfold: Command, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from torch import nn\ndef make(out=10):\n    return nn.Linear(8, out)\n")
    done = tenfold("inspect", "own:make", "--input", 9)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(
        "tenfold: inspect: the network cannot be called with a sample of shape 9 (RuntimeError"
    )
    assert len(done.err.splitlines()) == 1
    wrong = tenfold("inspect", "mlp", "--data", "digits", "--classes", 3)
    assert wrong.code == 2
    assert "must return logits of shape (B, 10), got (64, 3)" in wrong.err
    assert len(wrong.err.splitlines()) == 1
