"""LeNet-5: two convolutions and three linear layers, for images from 8 to about 64 pixels.

With ReLU and max pooling, as it is used today; the paper's has tanh, trainable average pooling and partial
connections in its second convolution (about 60,000 parameters; the full form has 61,706 for one channel and
ten classes).

B batch, C channels, H W, K outputs
"""

from __future__ import annotations

from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks.entry import NetworkEntry, Published, check_choice, check_positive, widened
from tenfold.nn import activation, activation_inputs
from tenfold.tuning import Constant

POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
MIN_IMAGE_SIZE = 8


class LeNet(nn.Module):
    """Convolutions of 6 and 16 channels (5x5), each with 2x2 pooling, then linear layers of 120, 84 and K.

    The paper's images are 32x32 and its convolutions have no padding. Smaller images are padded by 2, in the
    first convolution below 32 pixels (MNIST's 28x28 then give the same 5x5 maps), in the second below 28, so
    that 8x8 digits keep a map of 2x2. The first linear layer has as many inputs as the last map has numbers.

    Args:
        spec: an image, height and width at least 8.
        num_outputs: K, at least 1.
        width: multiplies the numbers of channels and hidden units (rounded, at least 1), positive.
        activation: a name in `tenfold.nn.ACTIVATIONS`; "tanh" in the paper.
        norm: "none", or "batch" after each convolution (which then has no bias: it would be cancelled).
        pool: "max" or "average".

    Raises:
        ValueError: width is not positive, or norm or pool has no such name.
        InputError: the activation has no such name.

    Example:
        >>> import torch
        >>> network = LeNet(InputSpec(kind="image", shape=(1, 28, 28)), num_outputs=10)
        >>> network(torch.zeros(3, 1, 28, 28)).shape, sum(p.numel() for p in network.parameters())
        (torch.Size([3, 10]), 61706)

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
        Proceedings of the IEEE 86, 1998, section II.B.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        width: float = 1.0,
        activation: str = "relu",
        norm: str = "none",
        pool: str = "max",
    ) -> None:
        super().__init__()
        check_choice("lenet", ("none", "batch"), norm=norm)
        check_choice("lenet", tuple(POOLS), pool=pool)
        check_positive("lenet", width=width)
        channels, height, image_width = spec.shape
        conv1, conv2, linear1, linear2 = (widened(units, width) for units in (6, 16, 120, 84))
        paddings = _paddings(min(height, image_width))
        self.features = nn.Sequential(
            _stage(channels, conv1, paddings[0], activation, norm, pool),
            _stage(conv1, conv2, paddings[1], activation, norm, pool),
        )
        self.flatten = nn.Flatten()
        map_size = _map_size(height, paddings) * _map_size(image_width, paddings)
        self.classifier = _classifier(conv2 * map_size, linear1, linear2, num_outputs, activation)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Outputs float, shape (B, K), of images float, shape (B, C, H, W)."""
        return self.classifier(self.flatten(self.features(x_BCHW)))


def _paddings(size: int) -> tuple[int, int]:
    """Padding of both convolutions for the image's smaller side."""
    return (2 if size < 32 else 0, 2 if size < 28 else 0)


def _map_size(size: int, paddings: tuple[int, int]) -> int:
    """Side of the last feature map: each stage takes 4 - 2 * padding off and halves, rounded down."""
    for padding in paddings:
        size = (size + 2 * padding - 4) // 2
    return size


def _stage(
    in_channels: int, out_channels: int, padding: int, activation_name: str, norm: str, pool: str
) -> nn.Sequential:
    before = out_channels * activation_inputs(activation_name)
    convolution = nn.Conv2d(in_channels, before, 5, padding=padding, bias=norm == "none")
    norms = [nn.BatchNorm2d(before)] if norm == "batch" else []
    return nn.Sequential(convolution, *norms, activation(activation_name), POOLS[pool](2))


def _classifier(in_features: int, first: int, second: int, num_outputs: int, activation_name: str) -> nn.Sequential:
    pieces = activation_inputs(activation_name)
    return nn.Sequential(
        nn.Linear(in_features, first * pieces),
        activation(activation_name),
        nn.Linear(first, second * pieces),
        activation(activation_name),
        nn.Linear(second, num_outputs),
    )


LENET = NetworkEntry(
    name="lenet",
    build=LeNet,
    kinds=frozenset({"image"}),
    space={
        "width": Constant(1.0, reason="the paper's; each width is a structure of its own"),
        "activation": Constant("relu", reason="the cheapest, seldom behind; each other one is a structure"),
        "norm": Constant("none", reason="as in the paper; five layers train without"),
        "pool": Constant("max", reason="the form in use today; the paper's average is a little weaker"),
    },
    reference="LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
    min_image_size=MIN_IMAGE_SIZE,
    default=True,
    widths=(0.5, 1.0, 2.0, 4.0),
    published=Published(
        parameters=61_706,
        shape=(1, 28, 28),
        num_outputs=10,
        accuracy="99.05 % on MNIST (LeCun et al. 1998, the paper's own form)",
    ),
    pretrained=True,
    stages=lambda network: dict(zip(("conv1", "conv2"), network.features, strict=True)),
    stacks="members of equal width, activation, norm and pool are one program of grouped convolutions",
)
