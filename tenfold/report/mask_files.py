"""Predicted masks as files that anyone can look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from tenfold.core.writing import written_beside
from tenfold.report.overlays import class_colour


def write_masks(folder: Path, masks: Sequence[tuple[str, np.ndarray]]) -> None:
    """Writes masks as palette PNGs: the numbers are those of the masks trained on, the colours are for eyes.

    Args:
        folder: made where it is missing; files of the same names are replaced.
        masks: pairs of a picture's path (or number) and its mask, uint8, shape (H, W). The mask of `a/b.jpg` becomes
            `a/b.png`, and where another picture has that name, too, `a/b.jpg.png`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_masks(folder, [("street/1.jpg", np.array([[0, 7]], np.uint8))])
        >>> np.asarray(Image.open(folder / "street" / "1.png")).tolist()
        [[0, 7]]
    """
    palette = [part for value in range(256) for part in class_colour(value)]
    stems = Counter(PurePath(name).with_suffix("") for name, _ in masks)
    for name, mask in masks:
        path = PurePath(name)
        unique = stems[path.with_suffix("")] == 1
        target = folder / (path.with_suffix(".png") if unique else path.with_name(path.name + ".png"))
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(mask)
        image.putpalette(palette)
        with written_beside(target) as draft:
            image.save(draft, "PNG")
