"""The zoo: plain modules by name, one family a file.

`NETWORKS` holds an entry for each name ("linear", "mlp", "lenet", "resnet18", "unet"); `build_network` builds one,
`suitable` names those that can take an input, `network_settings` their configuration, `merge_network_spaces`
the space to search. Each can also be used directly: `Linear`, `MLP`, `LeNet`, `build_resnet18`, `UNet`.
"""

from tenfold.networks.catalog import NETWORKS, build_network, merge_network_spaces, network_settings, suitable
from tenfold.networks.entry import NetworkEntry
from tenfold.networks.lenet import LeNet
from tenfold.networks.linear import Linear
from tenfold.networks.mlp import MLP
from tenfold.networks.resnet import build_resnet18
from tenfold.networks.unet import UNet

__all__ = [
    "MLP",
    "NETWORKS",
    "LeNet",
    "Linear",
    "NetworkEntry",
    "UNet",
    "build_network",
    "build_resnet18",
    "merge_network_spaces",
    "network_settings",
    "suitable",
]
