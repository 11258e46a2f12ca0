"""The zoo: plain modules by name, one family a file.

`NETWORKS` holds an entry for each name ("linear", "mlp", "lstm", "lenet", ...); `build_network` builds one,
`suitable` names those to begin with for an input, `obstacle` says why one cannot take it, `network_settings` gives
its configuration, `merge_network_spaces` the space to search, `ladder` its smaller and larger relatives. Some can
also be used directly: `Linear`, `MLP`, `TabM`, `RealMLP`, `Recurrent`, `Transformer`, `LeNet`, `CNN`,
`build_resnet18`, `UNet`. `RecurrentForecaster` maps sequences to sequences.

`build_backbone` gives a network without its head, and `compose` puts a backbone, a neck and a head together.
"""

from tenfold.networks.backbones import Backbone, build_backbone
from tenfold.networks.catalog import (
    NETWORKS,
    build_network,
    ladder,
    merge_network_spaces,
    network_settings,
    obstacle,
    suitable,
)
from tenfold.networks.cnn import CNN
from tenfold.networks.composing import (
    HEADS,
    NECKS,
    Bottleneck,
    Composed,
    GlobalPool,
    Joined,
    MLPHead,
    TableColumns,
    compose,
)
from tenfold.networks.entry import NetworkEntry, Published
from tenfold.networks.lenet import LeNet
from tenfold.networks.linear import Linear
from tenfold.networks.mlp import MLP
from tenfold.networks.realmlp import RealMLP
from tenfold.networks.recurrent import Recurrent, RecurrentForecaster
from tenfold.networks.resnet import build_resnet18
from tenfold.networks.tabm import TabM
from tenfold.networks.transformer import Transformer
from tenfold.networks.unet import UNet

__all__ = [
    "CNN",
    "HEADS",
    "MLP",
    "NECKS",
    "NETWORKS",
    "Backbone",
    "Bottleneck",
    "Composed",
    "GlobalPool",
    "Joined",
    "LeNet",
    "Linear",
    "MLPHead",
    "NetworkEntry",
    "Published",
    "RealMLP",
    "Recurrent",
    "RecurrentForecaster",
    "TabM",
    "TableColumns",
    "Transformer",
    "UNet",
    "build_backbone",
    "build_network",
    "build_resnet18",
    "compose",
    "ladder",
    "merge_network_spaces",
    "network_settings",
    "obstacle",
    "suitable",
]
