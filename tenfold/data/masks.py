"""Mask files to values, and the form in which pictures with masks are kept.

A mask has one number a pixel: a grey or palette PNG (the palette's numbers count, not its colours), or one whose
channels are equal. It is brought to the pictures' size by the nearest pixel, so that no number arises that no pixel
had.

H W
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tenfold.core.errors import InputError
from tenfold.data.inputs import PictureFormat
from tenfold.data.pictures import LARGE_PIXELS, Header

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".pgm")
_MULTIPLE = 16


def choose_scene_format(
    headers: Sequence[Header], image_size: int | tuple[int, int] | None
) -> tuple[PictureFormat, str]:
    """The form in which pictures with masks are kept, and why: whole, never cut, since every pixel has a target.

    Pictures of one size up to 128 pixels stay as they are. Others get the proportions of their median size, the
    longer side 128 pixels, both multiples of 16.

    Args:
        headers: of all readable pictures, at least one.
        image_size: height and width in pixels when the user said so; one number for squares.

    Raises:
        ValueError: the size is below 1.

    Example:
        >>> form, said = choose_scene_format([Header(height=360, width=480, grey=False)], None)
        >>> form.height, form.width, said
        (96, 128, 'pictures: colour, whole, resized to 96x128 like their masks (median 360x480; --image-size)')
    """
    channels = 1 if all(header.grey for header in headers) else 3
    sizes = {(header.height, header.width) for header in headers}
    if image_size is not None:
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, width) < 1:
            raise ValueError(f"read: image_size must be at least 1 pixel, got {image_size!r}. Choose 96x128, say.")
        reason = "--image-size"
    elif len(sizes) == 1 and max(next(iter(sizes))) <= LARGE_PIXELS:
        (height, width), reason = sizes.pop(), "their own size; --image-size"
    else:
        median = [float(np.median([size[axis] for size in sizes])) for axis in (0, 1)]
        height, width = (_multiple(side * LARGE_PIXELS / max(median)) for side in median)
        reason = f"median {median[0]:.0f}x{median[1]:.0f}; --image-size"
    colour = "grey" if channels == 1 else "colour"
    form = PictureFormat(channels=channels, height=height, width=width, dense=True)
    return form, f"pictures: {colour}, whole, resized to {height}x{width} like their masks ({reason})"


def _multiple(side: float) -> int:
    return max(_MULTIPLE, round(side / _MULTIPLE) * _MULTIPLE)


def decode_mask(path: Path, name: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask in this size, uint8 of shape (H, W), and all values of the file, rising.

    Args:
        path: of the file.
        name: what to call it in messages.
        height: in pixels.
        width: in pixels.

    Raises:
        InputError: it has colours, or values above 255.
        OSError: the file is torn; Pillow's formats raise other errors, too.
    """
    with Image.open(path) as image:
        image.load()
        if image.mode in ("RGB", "RGBA", "LA"):
            values = _one_channel(np.asarray(image.convert("RGB")), name)
        elif image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;16"):
            values = np.asarray(image)
        else:
            raise InputError(_has_colours(name, image.mode))
    if values.max(initial=0) > 255 or values.min(initial=0) < 0:
        raise InputError(
            f"{name}: a mask must hold values from 0 to 255, got {values.min()} to {values.max()}. Number the "
            "classes anew."
        )
    mask = values.astype(np.uint8)
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized), np.unique(mask)


def _one_channel(values: np.ndarray, name: str) -> np.ndarray:
    if not (values == values[..., :1]).all():
        raise InputError(_has_colours(name, "colours"))
    return values[..., 0]


def _has_colours(name: str, got: str) -> str:
    return f"{name}: a mask must hold one class number a pixel, got {got}. Save it as a grey or palette PNG."
