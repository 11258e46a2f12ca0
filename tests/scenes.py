"""Small pictures of shapes with masks that say which shape each pixel belongs to."""

from pathlib import Path

import numpy as np
from PIL import Image

BACKGROUND, SQUARE, DISC, VOID = 0, 1, 2, 255
COLOURS = {BACKGROUND: (90, 120, 90), SQUARE: (220, 60, 40), DISC: (40, 70, 220), VOID: (128, 128, 128)}


def draw(rng, height=24, width=32):
    """A mask with a square, a disc and a strip without label, uint8 (H, W), and its picture, uint8 (H, W, 3)."""
    mask = np.zeros((height, width), np.uint8)
    side = int(rng.integers(height // 4, height // 2))
    top, left = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
    mask[top : top + side, left : left + side] = SQUARE
    y, x = np.mgrid[:height, :width]
    centre = rng.integers(4, height - 4), rng.integers(4, width - 4)
    mask[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (height / 6) ** 2] = DISC
    mask[-1] = VOID
    picture = np.array([COLOURS[int(value)] for value in range(3)] + [COLOURS[VOID]], np.int64)
    picture = picture[np.where(mask == VOID, 3, mask)] + rng.integers(-30, 31, (height, width, 1))
    return mask, picture.clip(0, 255).astype(np.uint8)


def write_pair(picture_path, mask_path, rng, **size):
    mask, picture = draw(rng, **size)
    for path, values in ((picture_path, picture), (mask_path, mask)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)


def make_scenes(root: Path, layout="beside", count=6, seed=0, **size) -> Path:
    """A folder of drawn scenes in one of the layouts; parts of it have `count`, and half as many for val and test."""
    rng = np.random.default_rng(seed)
    counts = {"train": count, "val": max(count // 2, 2), "test": max(count // 2, 2)}
    for part, many in counts.items():
        for number in range(many):
            name = f"{part}{number}.png"
            pictures, masks = {
                "beside": (root / "images", root / "masks"),
                "beside-parts": (root / "images" / part, root / "labels" / part),
                "annot": (root / part, root / f"{part}annot"),
                "inside": (root / part / "images", root / part / "masks"),
            }[layout]
            write_pair(pictures / name, masks / name, rng, **size)
    return root
