"""What a reader should see of a segmentation: a batch with its masks, and the pictures that went worst and best.

N pictures, H W
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tenfold.data import ImageFileInputs
from tenfold.study.material import DatasetProvider, Material
from tenfold.study.pixels import as_pixels
from tenfold.tasks import SEGMENTATION_METRICS, counts_of_maps

SHOWN = 4
BATCH = 8


def write_scenes(path: Path, material: Material, maps: np.ndarray, seed: int) -> None:
    """Writes `gallery.npz`: pictures, truth and prediction of the worst and the best, and a batch as trained on.

    Args:
        path: the file.
        material: the data, with a test part.
        maps: of the test pictures, places of classes, uint8, shape (N, H, W).
        seed: of the run, so that the batch is the first that training saw.
    """
    assert material.test is not None
    truth = material.test.targets.cpu()
    scores = _of_each(maps, truth, material.encoder.num_outputs)
    order = np.argsort(scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    best = order[::-1][: min(SHOWN, len(order) // 2)]
    worst = order[: min(SHOWN, len(order) - len(best))]
    places = np.concatenate([worst, best]).astype(np.int64)
    rows = torch.from_numpy(places)
    shown = material.preprocessor.prepare_batch(tuple(t.cpu()[rows] for t in material.test.inputs), False)
    provider = DatasetProvider(material, batch_size=BATCH, seed=seed)
    batch = next(iter(provider.epoch(0)))
    np.savez_compressed(
        path,
        scenes=as_pixels(shown[0]),
        scene_truth=truth[rows].numpy(),
        scene_predictions=maps[places],
        scene_scores=scores[places],
        scene_is_worst=np.arange(len(places)) < len(worst),
        scene_names=np.array([_name(material, int(material.test.rows[place])) for place in places], dtype=np.str_),
        batch=as_pixels(batch[0]),
        batch_masks=batch[-1].cpu().numpy(),
    )


def _of_each(maps: np.ndarray, truth: torch.Tensor, num_classes: int) -> np.ndarray:
    """The mean IoU of each picture alone; NaN where it has no labelled pixel."""
    counts_N3K = counts_of_maps(torch.from_numpy(maps), truth, num_classes)
    return SEGMENTATION_METRICS["miou"].function(counts_N3K[:, None], None).numpy()


def _name(material: Material, row: int) -> str:
    inputs = material.source.inputs
    return inputs.paths[row] if isinstance(inputs, ImageFileInputs) else f"row {row}"
