"""Convolution, pooling and batch norm with the samples last in memory: against PyTorch, and between members."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tenfold
from tenfold.optim import TrainingStep
from tenfold.stacking import kernels
from tenfold.stacking.kernels import library
from tenfold.stacking.kernels.samples_last import samples_last

pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the kernels are for CPUs with AVX-512"
)
CONVOLUTIONS = [  # members, batch, channels, size, channels of the result, window, stride, padding, dilation
    (3, 64, 1, (28, 28), 6, (5, 5), (1, 1), (2, 2), (1, 1)),
    (2, 50, 6, (14, 14), 16, (5, 5), (1, 1), (0, 0), (1, 1)),
    (2, 33, 3, (9, 11), 7, (3, 2), (2, 1), (1, 1), (1, 2)),
    (1, 1, 5, (8, 8), 13, (3, 3), (2, 2), (1, 1), (1, 1)),
    (2, 17, 8, (7, 7), 24, (1, 1), (2, 2), (0, 0), (1, 1)),
    (2, 130, 20, (6, 6), 30, (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 4, 2, (5, 5), 3, (2, 2), (4, 3), (5, 6), (1, 1)),  # places that see nothing, and inputs that nothing sees
    (2, 20, 1, (9, 12), 7, (3, 6), (2, 1), (1, 3), (1, 2)),  # taps of the only channel side by side, and borders
    (2, 5, 1, (6, 7), 3, (2, 5), (1, 2), (0, 2), (1, 1)),
    (1, 40, 70, (4, 4), 65, (3, 3), (1, 1), (1, 1), (1, 1)),  # more weights than are summed in parts
]
POOLS = [  # window, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), True),
    ((3, 2), (1, 2), (1, 0), (2, 1), False),
    ((2, 2), (3, 3), (0, 0), (1, 1), True),
]


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_and_their_gradients_are_those_of_pytorch_in_float64(case, is_shared, threads):
    members, batch, channels, size, out, window, *options = case
    torch.manual_seed(0)
    x = torch.randn(*(() if is_shared else (members,)), batch, channels, *size, requires_grad=not is_shared)
    weight, bias = (
        torch.randn(members, out, channels, *window).requires_grad_(),
        torch.randn(members, out).requires_grad_(),
    )
    wanted = [weight, bias] if is_shared else [weight, bias, x]
    found = kernels.Convolution.apply(x, weight, bias, *options)
    expected = torch.stack([
        F.conv2d((x if is_shared else x[m]).double(), weight[m].double(), bias[m].double(), *options)
        for m in range(members)
    ])  # fmt: skip
    assert kernels.lies_samples_last(found)
    assert relative(found, expected) < 1e-6
    grad = torch.randn_like(expected)
    ours = torch.autograd.grad(found, wanted, grad.float())
    for one, other in zip(ours, torch.autograd.grad(expected, wanted, grad), strict=True):
        assert relative(one, other) < 2e-6


@pytest.mark.parametrize("batch", [1, 16, 20, 64])
@pytest.mark.parametrize("options", POOLS)
def test_maxima_and_their_gradients_are_the_bits_of_pytorch(options, batch, threads):
    torch.manual_seed(0)
    x = torch.randn(2, batch, 3, 9, 10).clamp(max=1.5)  # the largest stand several times in a window
    x[0, 0, 0, 3, 3], x[1, 0, 0, :4, :4] = torch.nan, -torch.inf
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    found = kernels.MaxPoolSamples.apply(ours, *options)
    expected = F.max_pool2d(theirs.flatten(0, 1), *options).unflatten(0, (2, batch))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    grad = torch.randn_like(expected)
    found.backward(grad)
    expected.backward(grad)
    assert torch.equal(ours.grad, theirs.grad)


def conv_net(channels=2, **options):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(channels, 5, 3, **options), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(5, 8, 3, padding="same"), nn.ReLU(inplace=True), nn.Conv2d(8, 6, (3, 2), stride=2),
        nn.BatchNorm2d(6, momentum=None), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip


def step(stack, x, y):
    for parameter in stack.parameters():
        parameter.grad = None
    loss = stack.each(lambda model, x, y: F.cross_entropy(model(x), y), x, y)
    stack.backward(loss)
    return loss.detach()


def test_a_network_of_them_learns_as_pytorch_does_without_copies_between_layouts():
    models = [conv_net(padding=1) for _ in range(3)]
    stack, x = tenfold.stack(models, form="stacked"), torch.randn(3, 20, 2, 15, 14)
    y = torch.randint(0, 3, (3, 20))
    for _ in range(2):
        loss_M = step(stack, tenfold.per_member(x), tenfold.per_member(y))
    assert stack.fallback is None
    for m, model in enumerate(models):
        model = model.train()
        for _ in range(2):
            model.zero_grad()
            loss = F.cross_entropy(model(x[m]), y[m])
            loss.backward()
        torch.testing.assert_close(loss_M[m], loss.detach())
        for name, parameter in model.named_parameters():
            own = dict(stack.named_parameters())[name].grad[m]
            torch.testing.assert_close(own, parameter.grad, rtol=1e-4, atol=1e-6)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(dict(stack.named_buffers())[name][m], buffer)
    with torch.no_grad():
        found = stack.eval().each(lambda model, x: model(x), tenfold.per_member(x))
        expected = torch.stack([model.eval()(own) for model, own in zip(models, x, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_member_gets_the_same_bits_whoever_stands_beside_it_and_on_any_number_of_threads():
    x, weight = torch.randn(3, 30, 4, 9, 9, requires_grad=True), torch.randn(3, 7, 4, 3, 3, requires_grad=True)
    options = ([1, 1], [1, 1], [1, 1])
    found, before = [], torch.get_num_threads()
    for threads, some in ((1, slice(0, 3)), (2, slice(0, 3)), (2, slice(1, 2))):
        torch.set_num_threads(threads)
        own = [part[some].detach().clone().requires_grad_() for part in (x, weight)]
        result = kernels.Convolution.apply(*own, None, *options)
        result.square().sum().backward()
        found.append(
            [tensor[1] if len(tensor) == 3 else tensor[0] for tensor in (result, *(part.grad for part in own))]
        )
    torch.set_num_threads(before)
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))


def test_a_nan_of_one_member_changes_no_bit_of_another():
    x, weight = torch.randn(3, 20, 2, 7, 7), torch.randn(3, 4, 2, 3, 3)
    options = ([1, 1], [0, 0], [1, 1])
    clean = kernels.Convolution.apply(x, weight, None, *options)
    x[1, 3, 0, 2, 2], weight[1, 0] = torch.nan, torch.inf
    planted = kernels.Convolution.apply(x, weight, None, *options)
    assert torch.equal(clean[[0, 2]], planted[[0, 2]])
    assert not torch.equal(clean[1], planted[1])


def test_gradients_of_gradients_are_those_of_pytorch():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 2, 6, 6, requires_grad=True), torch.randn(2, 3, 2, 3, 3, requires_grad=True)

    def penalty(result):
        (of_x,) = torch.autograd.grad(result.square().sum(), x, create_graph=True)
        return torch.autograd.grad(of_x.square().sum(), [x, weight])

    ours = penalty(kernels.Convolution.apply(x, weight, None, [1, 1], [1, 1], [1, 1]))
    theirs = penalty(torch.stack([F.conv2d(x[m], weight[m], padding=1) for m in range(2)]))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"groups": 2}, {"padding": 1, "padding_mode": "circular"}, {"padding": "valid"}, {"dilation": 2}]
)
def test_whatever_the_options_members_get_what_pytorch_gives(options):
    models = [nn.Conv2d(2, 4, 3, **options) for _ in range(2)]
    x = torch.randn(9, 2, 8, 8)
    found = tenfold.stack(models, form="stacked").each(lambda model, x: model(x), x)
    torch.testing.assert_close(found, torch.stack([model(x) for model in models]), rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_together_is_explained_by_pytorch():
    stack = tenfold.stack([nn.Conv2d(2, 4, 3) for _ in range(2)], form="stacked")
    with pytest.raises(RuntimeError, match=r"expected input.* to have 2 channels, but got 3"):
        stack.each(lambda model, x: model(x), torch.zeros(5, 3, 8, 8))
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        stack.each(lambda model, x: model(x), torch.zeros(5, 2, 2, 8))
    with pytest.raises(RuntimeError, match=r"bias|size of tensor"):
        stack.each(lambda model, x: F.conv2d(x, model.weight, model.bias[:3]), torch.zeros(5, 2, 8, 8))
    norms = tenfold.stack([nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(5)) for _ in range(2)], form="stacked")
    with pytest.raises((RuntimeError, ValueError), match="running_mean should contain 4 elements not 5"):
        norms.each(lambda model, x: model(x), torch.zeros(5, 2, 8, 8))


@pytest.mark.parametrize("view", [(5, 4 * 49), (20, 7, 7), (-1, 4, 49)])
def test_views_that_cut_across_the_samples_are_taken_of_a_copy(view):
    models = [nn.Conv2d(2, 4, 2) for _ in range(2)]
    x = torch.randn(5, 2, 8, 8)
    found = tenfold.stack(models, form="stacked").each(lambda model, x: model(x).view(*view), x)
    torch.testing.assert_close(found, torch.stack([model(x).view(*view) for model in models]), rtol=1e-5, atol=1e-5)


def test_without_the_library_the_numbers_are_those_of_pytorch(monkeypatch):
    monkeypatch.setattr(kernels, "are_there", lambda *tensors: False)
    models, x = [conv_net() for _ in range(2)], torch.randn(6, 2, 15, 14)
    found = tenfold.stack(models, form="stacked").each(lambda model, x: model(x), x)
    torch.testing.assert_close(found, torch.stack([model.train()(x) for model in models]), rtol=1e-4, atol=1e-5)


def test_the_library_is_kept_and_built_anew_where_the_file_is_no_library(monkeypatch, tmp_path):
    said = []

    def load(folder):
        monkeypatch.setenv("TENFOLD_CACHE", str(folder))
        library.library.cache_clear()
        with kernels.telling(said.append):
            assert hasattr(library.library(), "tenfold_convolution")

    load(tmp_path / "one")
    load(tmp_path / "one")
    (kept,) = (tmp_path / "one").glob("kernels-*.so")
    other = tmp_path / "two" / kept.name
    other.parent.mkdir()
    other.write_bytes(b"no library")
    load(other.parent)
    assert other.read_bytes() == kept.read_bytes()
    assert said == ["kernels: built for this processor, once (about ten seconds)"] * 2
    library.library.cache_clear()


def test_where_there_is_no_compiler_pytorchs_operators_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    library.library.cache_clear()
    with pytest.raises(RuntimeError, match="there is no compiler"):
        library.library()


@pytest.mark.slow
def test_a_compiled_step_learns_as_one_that_comes():
    x, y = torch.randn(20, 2, 15, 14), torch.randint(0, 3, (20,))
    weights = []
    for compiled in (False, True):
        stack = tenfold.stack([conv_net() for _ in range(3)])
        optimizer = tenfold.optim.SGD(stack.parameters(), lr=0.1)
        train = TrainingStep(stack, lambda model, x, y: F.cross_entropy(model(x), y), optimizer, compiled=compiled)
        for _ in range(4):
            train(x, y)
        assert train.fallback is None
        weights.append([parameter.detach().clone() for parameter in stack.parameters()])
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_samples_last_says_how_a_tensor_lies():
    x = torch.randn(2, 5, 3, 4, 6)
    turned = samples_last(x)
    assert torch.equal(turned, x)
    assert kernels.lies_samples_last(turned)
    assert not kernels.lies_samples_last(x)
    assert samples_last(turned) is turned
