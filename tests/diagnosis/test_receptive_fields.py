"""Receptive fields in theory: published sizes, and what gradients and NaNs of real passes say."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenfold.diagnosis import inspect_module, without_numbers
from tenfold.diagnosis.receptive_field import receptive_fields
from tenfold.diagnosis.tracing import trace


def fields(model, *shape, dtype=torch.float32):
    return receptive_fields(trace(model, [torch.zeros(1, *shape, dtype=dtype)]))


@pytest.mark.parametrize(
    ("name", "layer", "size", "stride"),
    [  # Araujo et al., Distill 2019, table of networks, at their last feature map
        ("alexnet", "features", 195, 32),
        ("vgg16", "features", 212, 32),
        ("resnet18", "layer4", 435, 32),
        ("mobilenet_v2", "features", 491, 32),
        pytest.param("inception_v3", "Mixed_7c", 1311, 32, marks=pytest.mark.slow),
    ],
)
def test_sizes_are_the_published_ones(name, layer, size, stride):
    options = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    with without_numbers():
        model = getattr(torchvision.models, name)(**options)
    seen = fields(model, 3, 299, 299)
    assert seen[layer].size == (size, size)
    assert seen[layer].stride == (stride, stride)
    assert not seen[layer].whole
    assert seen[""].whole


def test_a_map_of_one_pixel_does_not_hide_the_size():
    with without_numbers():
        model = torchvision.models.resnet18()
    assert fields(model, 3, 32, 32)["layer4"].size == (435, 435)


# -- measured by the gradient of a real pass ------------------------------------------------------------------------


def made_positive(model):
    """Weights that cannot cancel, and averages for maxima, which pass a gradient to one pixel alone."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            parent = model.get_submodule(name.rpartition(".")[0])
            pool = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
            setattr(parent, name.rpartition(".")[2], pool)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0 / max(1, parameter[0].numel()))
    return model.double().eval()


def measured_box(model, layer, shape):
    """The first and last pixel along each axis that moves the middle of a layer's map."""
    caught = []
    model.get_submodule(layer).register_forward_hook(lambda m, a, out: caught.append(out))
    x = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    model(x)
    out = caught[0]
    place = tuple(size // 2 for size in out.shape[2:])
    [gradient] = torch.autograd.grad(out[(0, slice(None), *place)].sum(), x)
    touched = gradient[0].abs().sum(0) > 0
    rows, columns = (touched.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    return place, ((rows[0], rows[-1]), (columns[0], columns[-1]))


def predicted_box(field, place, sizes):
    box = []
    for at, size, stride, center, length in zip(place, field.size, field.stride, field.center, sizes, strict=True):
        middle = center + at * (stride or 0)
        box.append((max(0, round(middle - (size - 1) / 2)), min(length - 1, round(middle + (size - 1) / 2))))
    return tuple(box)


def narrow_vgg16():
    plan = [2, 2, "M", 2, 2, "M", 2, 2, 2, "M", 2, 2, 2, "M", 2, 2, 2, "M"]
    return torchvision.models.vgg.make_layers(plan, batch_norm=True)


def dilated():
    return nn.Sequential(*[nn.Conv2d(3 if i == 0 else 2, 2, 3, padding=2**i, dilation=2**i) for i in range(5)])


class Inception(nn.Module):
    """Branches of different fields after a stride, joined, then a convolution of all and one by groups."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2)
        self.small = nn.Conv2d(4, 2, 1)
        self.large = nn.Conv2d(4, 2, (5, 3), padding=(2, 1))
        self.groups = nn.Conv2d(4, 4, 3, groups=2)
        self.join = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.join(self.groups(torch.cat([self.small(x), self.large(x)], 1)))


@pytest.mark.parametrize(
    ("make", "layer", "side"),
    [
        (narrow_vgg16, "43", 224),
        (narrow_vgg16, "23", 96),
        (lambda: torchvision.models.resnet18(norm_layer=nn.Identity), "layer2", 128),
        (lambda: torchvision.models.resnet18(norm_layer=nn.Identity), "layer4", 128),
        (dilated, "4", 80),
        (Inception, "join", 40),
    ],
    ids=["vgg16", "vgg16-pool3", "resnet18-layer2", "resnet18", "dilated", "inception"],
)
def test_the_field_is_the_box_of_pixels_whose_gradient_is_not_zero(make, layer, side):
    model = made_positive(make())
    field = fields(model, 3, side, side, dtype=torch.float64)[layer]
    place, box = measured_box(model, layer, (3, side, side))
    assert predicted_box(field, place, (side, side)) == box


class Decoder(nn.Module):
    """Down, up by a transposed convolution and by interpolation, with a way around."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 2, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(2, 2, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)
        self.last = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        half = F.pad(F.relu(self.down(x)), (1, 1, 1, 1))[:, :, 1:-1, 1:-1]
        return self.last(F.interpolate(self.up(self.deep(half)) + half, scale_factor=2, mode="nearest"))


def test_the_field_of_a_decoder_is_the_widest_of_its_pixels():
    model = made_positive(Decoder())
    field = fields(model, 3, 64, 64, dtype=torch.float64)[""]
    x = torch.ones(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    widest = 0
    for row in range(28, 36):  # away from the border
        [gradient] = torch.autograd.grad(model(x)[0, :, row, 32].sum(), x)
        touched = (gradient[0].sum((0, 2)) > 0).nonzero().flatten()
        widest = max(widest, int(touched[-1] - touched[0]) + 1)
    assert field.size[0] == widest
    assert field.stride == (1.0, 1.0)


kernels = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(kernels, min_size=1, max_size=4))
def test_a_nan_at_either_end_of_the_field_is_seen_and_one_beyond_is_not(plan):
    layers = [nn.Conv1d(1, 1, 1)]
    for kernel, stride, padding, dilation, is_pool in plan:
        padding = min(padding, kernel // 2)
        pool = nn.MaxPool1d(kernel, stride, padding, dilation)
        layers.append(pool if is_pool else nn.Conv1d(1, 1, kernel, stride, padding, dilation=dilation))
    model, length = nn.Sequential(*layers), 400
    out = model(torch.zeros(1, 1, length))
    field = fields(model, 1, length)[""]
    place = out.shape[2] // 2
    low = round(field.center[0] + place * field.stride[0] - (field.size[0] - 1) / 2)
    for at in {low - 1, low, low + field.size[0] - 1, low + field.size[0]} & set(range(length)):
        x = torch.zeros(1, 1, length)
        x[0, 0, at] = torch.nan
        assert bool(model(x)[0, 0, place].isnan()) == (low <= at < low + field.size[0])


# -- layers that see all ---------------------------------------------------------------------------------------------


class Attended(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0]


def after_a_convolution(*last):
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), *last)


@pytest.mark.parametrize(
    "model",
    [
        after_a_convolution(nn.Flatten(), nn.Linear(4 * 8 * 8, 2)),
        after_a_convolution(nn.AdaptiveAvgPool2d(1)),
        after_a_convolution(nn.AvgPool2d(8)),
        after_a_convolution(nn.AdaptiveMaxPool2d(1)),
        Attended(),
    ],
    ids=["linear", "average", "window", "maximum", "attention"],
)
def test_layers_that_mix_all_see_the_whole_input(model):
    seen = inspect_module(model, [torch.zeros(1, 1, 16, 16)])
    assert seen.output_receptive_field.whole
    assert seen.output_receptive_field.size == (16, 16)
    assert not seen.receptive_field.whole


@pytest.mark.slow
def test_attention_in_windows_sees_its_window():
    with without_numbers():
        model = torchvision.models.swin_t()
    seen = fields(model, 3, 224, 224)
    assert seen["features.1.0"].size == (28, 28)  # windows of 7 patches of 4 pixels
    assert seen["features.1.1"].size[0] > 28
    assert seen[""].whole


@pytest.mark.parametrize(
    ("mode", "corners"), [("nearest", None), ("bilinear", False), ("bilinear", True), ("bicubic", False)]
)
def test_upsampling_sees_the_pixels_that_it_interpolates_from(mode, corners):
    class Up(nn.Module):
        def forward(self, x):
            return F.interpolate(x, size=(13, 13), mode=mode, align_corners=corners)

    x = torch.rand(1, 1, 8, 8, requires_grad=True)
    widest = 0
    for place in range(13):
        [gradient] = torch.autograd.grad(Up()(x)[0, 0, place].sum(), x)
        touched = (gradient[0, 0].abs().sum(1) > 0).nonzero().flatten()
        widest = max(widest, int(touched[-1] - touched[0]) + 1)
    assert fields(Up(), 1, 8, 8)[""].size[0] == widest


def test_tokens_and_steps_are_an_axis_and_columns_are_none():
    tokens = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    assert str(fields(tokens, 6, dtype=torch.int64)[""]) == "1"
    assert fields(nn.LSTM(5, 3, batch_first=True), 7, 5)[""].whole
    assert fields(nn.Linear(5, 3), 5)[""] is None
    assert fields(nn.Conv1d(2, 3, 5), 2, 30)[""].size == (5,)
    assert fields(nn.Conv3d(1, 1, (1, 2, 3)), 1, 6, 6, 6)[""].size == (1, 2, 3)


def test_an_op_that_no_rule_knows_counts_as_seeing_all():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.sort(dim=-1).values

    assert fields(Sorted(), 1, 6, 6)[""].whole


def test_a_part_that_is_written_into_a_tensor_is_not_lost():
    class Written(nn.Module):
        def forward(self, x):
            out = torch.zeros(1, 1, 4, 4)
            out[:, :, 0] = x.mean((2, 3))[..., None]
            return out

    assert fields(Written(), 1, 4, 4)[""].whole
