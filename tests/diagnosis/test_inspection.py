"""The table by layer: shapes, parameters, memory, totals; any module; 80 columns; a notebook."""

import json

import pytest
import torch
import torchvision
from torch import nn

from tenfold.core.errors import InputError
from tenfold.diagnosis import as_text, inspect_module, without_numbers
from tenfold.diagnosis.layers import grouped


def inspected(model, *shape, **options):
    return inspect_module(model, [torch.zeros(1, *shape)], **options)


def small():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5)
    )


def test_rows_are_the_modules_in_the_order_in_which_they_run():
    seen = inspected(small(), 3, 8, 8)
    assert [layer.kind for layer in seen.layers] == [
        "Conv2d",
        "BatchNorm2d",
        "ReLU",
        "MaxPool2d",
        "Flatten",
        "Linear",
    ]
    shapes = [(8, 8, 8), (8, 8, 8), (8, 8, 8), (8, 4, 4), (128,), (5,)]
    assert [layer.output_shape for layer in seen.layers] == shapes
    assert [layer.parameters for layer in seen.layers] == [224, 16, 0, 0, 0, 645]
    assert seen.parameters == sum(p.numel() for p in small().parameters())
    assert seen.parameter_bytes == 4 * seen.parameters


def test_activation_memory_is_what_autograd_keeps_in_a_real_pass():
    model, kept = small().train(), {}
    x = torch.zeros(8, 3, 8, 8)
    known = {t.untyped_storage().data_ptr() for t in (x, *model.parameters(), *model.buffers())}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # alive, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    real = sum(size for size, _ in kept.values()) / 8
    seen = inspected(model, 3, 8, 8)
    assert seen.activation_bytes == pytest.approx(real, rel=0.02)  # some numbers are there once a batch
    assert seen.training_bytes(32) == 4 * seen.parameter_bytes + 32 * seen.activation_bytes
    assert seen.training_bytes(1, moments=0) == 2 * seen.parameter_bytes + seen.activation_bytes


def test_a_module_that_runs_twice_is_one_row_and_shared_weights_count_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)
            self.same = nn.Linear(4, 4, bias=False)
            self.same.weight = self.layer.weight

        def forward(self, x):
            return self.same(self.layer(self.layer(x)))

    seen = inspected(Twice(), 4)
    assert seen.parameters == 16
    assert [(layer.name, layer.calls, layer.flops) for layer in seen.layers] == [("layer", 2, 64), ("same", 1, 32)]


def test_parts_that_never_run_are_named():
    with without_numbers():
        model = torchvision.models.googlenet(init_weights=False)
    seen = inspected(model, 3, 64, 64, fields=False)
    idle = [layer for layer in seen.layers if not layer.calls]
    assert {layer.name.split(".")[0] for layer in idle} == {"aux1", "aux2"}
    assert "never runs" in str(seen)


def test_weights_that_attention_uses_without_calling_their_module_are_its_own():
    seen = inspected(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 6, 8)
    rows = {layer.name: layer.parameters for layer in seen.layers}
    assert rows["self_attn"] == 4 * (8 * 8 + 8)
    assert sum(rows.values()) == seen.parameters


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_is(training):
    model = small().train(training)
    model[1].train(not training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inspected(model, 3, 8, 8)
    assert model.training is training
    assert model[1].training is not training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_path_that_depends_on_numbers_is_run_with_numbers():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(4, 2), nn.Linear(4, 3)

        def forward(self, x):
            return self.left(x) if float(x.detach().sum()) > 0 else self.right(x)

    seen = inspected(Choosing(), 4)
    assert seen.flops == 2 * 4 * 3
    assert seen.layers[-1].name == "left"
    assert seen.layers[-1].calls == 0


def test_the_table_fits_into_80_columns_and_sums_up():
    with without_numbers():
        model = torchvision.models.resnet18()
    seen = inspected(model, 3, 224, 224)
    assert max(map(len, str(seen).splitlines())) <= 80
    assert "3,628,146,688" in str(seen)
    words = " ".join(str(seen).split())
    assert "435 pixels before all is mixed, stride 32, first centre 0; the output sees the whole input" in words
    short = as_text(seen, depth=1)
    assert len(short.splitlines()) < 25
    assert "layer4 12 layers" in short
    blocks = grouped(seen.layers, 1)
    assert sum(layer.flops for layer in blocks) == seen.flops
    assert [layer.name for layer in blocks][-3:] == ["layer4", "avgpool", "fc"]


def test_a_notebook_shows_names_as_text():
    model = nn.Sequential()
    model.add_module("<b>", nn.Linear(2, 2))
    shown = inspected(model, 2, name="<script>")._repr_html_()
    assert "&lt;b&gt; Linear" in shown
    assert "<script>" not in shown


def test_json_holds_every_layer():
    answer = json.loads(json.dumps(inspected(small(), 3, 8, 8).to_json()))
    assert answer["parameters"] == 885
    assert answer["layers"][0]["output_shape"] == [8, 8, 8]
    assert answer["receptive_field"] == {
        "size": [4, 4], "stride": [2.0, 2.0], "center": [0.5, 0.5], "whole": False,
    }  # fmt: skip
    assert answer["output_receptive_field"]["whole"] is True


def test_a_network_without_parameters_or_axes_is_no_trouble():
    seen = inspected(nn.Identity(), 3)
    assert (seen.parameters, seen.flops, seen.receptive_field) == (0, 0, None)
    assert "total" in str(seen)


def test_an_input_that_does_not_fit_is_answered_with_its_shape():
    with pytest.raises(
        InputError, match=r"cannot be called with a sample of shape 1x8x8 .*Give the shape .* --input"
    ):
        inspected(small(), 1, 8, 8)
