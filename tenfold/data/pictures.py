"""Picture files to pixels: any size and mode, decoded once, by a pool of threads.

JPEGs are decoded at a half, a quarter or an eighth of their size where that suffices (`draft`), then resized so that
the shorter side fits, and cut to the centre. Transparency is laid over white; 16 bits become 8; a rotation noted by
the camera is undone; of an animation the first frame counts.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from tenfold.data.inputs import PictureFormat
from tenfold.data.scratch import keep_rows, roomy
from tenfold.data.source import Skipped

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
SMALL_PIXELS = 64
LARGE_PIXELS = 128
MARGIN = 8 / 7
_GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION_TAG = 0x0112
_WAITING = 1 << 14

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a picture file says of itself.

    Attributes:
        height: in pixels, as shown.
        width: in pixels, as shown.
        grey: whether it has no colours.
    """

    height: int
    width: int
    grey: bool


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results in the order of the items; Pillow frees the interpreter while it decodes and resizes."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=min(workers, 32)) as pool, warnings.catch_warnings():
        # Pillow warns of odd metadata and of large pictures; both are read.
        warnings.simplefilter("ignore")
        # What waits for its turn takes a kilobyte each.
        blocks = (items[start : start + _WAITING] for start in range(0, len(items), _WAITING))
        return [result for block in blocks for result in pool.map(function, block)]


def read_header(path: Path) -> Header | str:
    """A picture's header, or in a few words why it has none."""
    if path.exists() and not path.is_file():  # to open a pipe would wait for a writer
        return "is no file"
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION_TAG, 1) >= 5:
                width, height = height, width
            return Header(height=height, width=width, grey=_is_grey(image))
    except Exception as error:  # Pillow's formats raise errors of any family on torn files
        return why_not(path, error)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P" and (palette := image.getpalette("RGB")):
        colours = np.array(palette, np.uint8).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in _GREY_MODES


def why_not(path: Path, error: Exception) -> str:
    """In a few words why a file is no picture, from what Pillow raised."""
    if not os.access(path, os.R_OK):
        return "may not be read (permission denied)" if path.exists() else "is not there"
    if path.stat().st_size == 0:
        return "is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return "is no picture"
    text = " ".join(str(error).split()).replace(str(path), path.name)
    return f"cannot be decoded ({text or type(error).__name__})"


def choose_format(headers: Sequence[Header], image_size: int | tuple[int, int] | None) -> tuple[PictureFormat, str]:
    """The form in which pictures are kept, and why.

    Pictures of one size up to 64 pixels stay as they are. Others become squares: of their median shorter side if
    that is small, else a multiple of 32 up to 128 with a margin for crops.

    Args:
        headers: of all readable pictures, at least one.
        image_size: height and width in pixels when the user said so.

    Raises:
        ValueError: the size is below 1.

    Example:
        >>> choose_format([Header(height=300, width=400, grey=False)], None)[0].stored
        (146, 146)
    """
    channels = 1 if all(header.grey for header in headers) else 3
    colour = "grey" if channels == 1 else "colour"
    sizes = {(header.height, header.width) for header in headers}
    if image_size is not None:
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, width) < 1:
            raise ValueError(f"read: image_size must be at least 1 pixel, got {image_size!r}. Choose 64 or 128.")
        reason = "--image-size"
    elif len(sizes) == 1 and max(next(iter(sizes))) <= SMALL_PIXELS:
        (height, width), reason = sizes.pop(), "their own size; --image-size"
    else:
        median = int(np.median([min(header.height, header.width) for header in headers]))
        side = median if median <= SMALL_PIXELS else min(median // 32 * 32, LARGE_PIXELS)
        height, width, reason = side, side, f"median shorter side {median}; --image-size"
    margin = MARGIN if max(height, width) > SMALL_PIXELS else 1.0
    form = PictureFormat(channels=channels, height=height, width=width, margin=margin)
    return form, f"pictures: {colour}, resized to {height}x{width} ({reason})"


def decode_pictures(
    paths: Sequence[Path], form: PictureFormat, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[Skipped]]:
    """Pixels of all pictures that can be decoded, each once: in memory, or in a file where they would fill it.

    Args:
        paths: N files.
        form: what to decode them to.
        names: N names for messages.

    Returns:
        Pixels, uint8 of shape (n, C, H, W) as stored; the positions of those n files, int64; what was skipped.

    Raises:
        InputError: the pixels fit neither into memory nor on the disk.
    """
    height, width = form.stored
    what = f"pictures: {len(paths):,} of {height}x{width}"
    pixels = roomy((len(paths), form.channels, height, width), np.uint8, what, "Choose a smaller --image-size")

    def decode(position: int) -> str | None:
        try:
            pixels[position] = decode_picture(paths[position], form)
        except Exception as error:  # as in read_header
            return why_not(paths[position], error)
        return None

    reasons = in_threads(decode, range(len(paths)))
    skipped = [Skipped(name, reason) for name, reason in zip(names, reasons, strict=True) if reason]
    good = np.flatnonzero([reason is None for reason in reasons])
    return keep_rows(pixels, good), good, skipped


def decode_picture(path: Path, form: PictureFormat) -> np.ndarray:
    """One picture, uint8 of shape (C, H, W) as stored.

    Raises:
        OSError: the file is torn; Pillow's formats raise other errors, too.
    """
    height, width = form.stored
    with Image.open(path) as image:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            # A turned picture is as long as the other is wide.
            side = max(height, width)
            image.draft(image.mode, (side, side))
        image.load()
        plain = ImageOps.exif_transpose(_eight_bits(image))
    plain = _opaque(plain).convert("L" if form.channels == 1 else "RGB")
    if plain.size != (width, height):
        fit = ImageOps.fit if not form.dense else Image.Image.resize
        plain = fit(plain, (width, height), Image.Resampling.BILINEAR)
    array = np.asarray(plain)
    return array[None] if form.channels == 1 else array.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pictures of 16 or 32 bits as 8 bits; Pillow's own conversion clips at 255."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    top = values.max(initial=0.0)
    if image.mode == "F":
        scaled = values * 255 if top <= 1 else values
    else:
        scaled = values / 257 if top > 255 or image.mode != "I" else values
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image
