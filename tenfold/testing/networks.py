"""What a registered network is checked with: a small input of its kind, targets, a loss."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.core.specs import InputSpec
from tenfold.networks import NETWORKS, build_network

_CLASSES = 3


def network_job(name: str) -> dict[str, Any]:
    """The first three arguments of every check, for a network by name.

    Args:
        name: a name in `tenfold.networks.NETWORKS`.

    Returns:
        `make_model`, `batches` (one, of 8 rows, or of 4 or 8 pictures) and `loss` (cross-entropy of 3 classes). The
        network is built with the settings of its entry's `small`.

    Example:
        >>> from tenfold.testing import check_plain_out
        >>> check_plain_out(**network_job("linear"))
    """
    entry, generator = NETWORKS[name], torch.Generator().manual_seed(0)
    if "table" in entry.kinds:
        spec = InputSpec(kind="table", shape=(5,), cardinalities=(3, 4))
        codes = torch.stack([torch.randint(k, (8,), generator=generator) for k in spec.cardinalities], dim=1)
        inputs: tuple[Tensor, ...] = (torch.randn(8, 5, generator=generator), codes)
    else:
        size = max(entry.min_image_size, 8)
        spec = InputSpec(kind="image", shape=(1, size, size), dense=entry.dense)
        rows = 8 if entry.heavy else 4  # deep batch norms over few numbers make the last place of a float visible
        inputs = (torch.rand(rows, 1, size, size, generator=generator),)
    of_each = tuple(inputs[0].shape[2:]) if entry.dense else ()
    targets = torch.randint(_CLASSES, (len(inputs[0]), *of_each), generator=generator)
    make_model = partial(build_network, name, spec, _CLASSES, **entry.small)
    return {"make_model": make_model, "batches": [(*inputs, targets)], "loss": _loss}


def _loss(model: nn.Module, *batch: Any) -> Tensor:
    return F.cross_entropy(model(*batch[:-1]), batch[-1])
