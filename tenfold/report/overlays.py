"""Masks laid over pictures: the worst and the best, with truth and prediction, and a batch with its masks.

n pictures, H W
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from tenfold.report.markup import Html, element, empty, join, note, section
from tenfold.report.pictures import png_uri, sheet
from tenfold.report.records import RunRecords

IGNORED = 255
OPACITY = 0.6
DIMMED = 0.35
# Told apart by eyes of most kinds: Okabe and Ito's, and some more; further classes take hues by the golden angle.
_COLOURS = (
    (86, 180, 233), (213, 94, 0), (240, 228, 66), (120, 94, 160), (204, 121, 167), (0, 158, 115), (230, 25, 75),
    (150, 110, 60), (0, 80, 200), (255, 140, 190), (0, 220, 200), (160, 200, 40),
)  # fmt: skip
_GOLDEN = 0.618034


def class_colour(place: int) -> tuple[int, int, int]:
    """The colour of a class by its place.

    Example:
        >>> class_colour(0), class_colour(40)
        ((86, 180, 233), (153, 109, 242))
    """
    if place < len(_COLOURS):
        return _COLOURS[place]
    red, green, blue = colorsys.hsv_to_rgb(
        place * _GOLDEN % 1, 0.55 + 0.3 * (place % 2), 0.7 + 0.25 * (place % 3 > 0)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def overlay(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture with its classes as colours, darkened where there is no label.

    Args:
        picture: uint8, shape (C, H, W).
        mask: places of classes, or 255, uint8, shape (H, W).

    Returns:
        uint8, shape (3, H, W).

    Example:
        >>> overlay(np.zeros((1, 1, 2), np.uint8), np.array([[0, 255]], np.uint8))[:, 0].tolist()
        [[52, 0], [108, 0], [140, 0]]
    """
    grey = picture.mean(axis=0)
    table = np.zeros((256, 3))
    for place in range(int(mask[mask != IGNORED].max(initial=0)) + 1):
        table[place] = class_colour(place)
    mixed = OPACITY * table[mask] + (1 - OPACITY) * grey[..., None]
    dark = np.where((mask == IGNORED)[..., None], DIMMED * grey[..., None], mixed)
    return dark.round().astype(np.uint8).transpose(2, 0, 1)


def legend(names: Sequence[str], masks: np.ndarray) -> Html:
    """The classes that occur, with their colours."""
    found = [place for place in np.unique(masks).tolist() if place != IGNORED]
    keys = [
        element(
            "span",
            element("i", style="background:rgb({},{},{})".format(*class_colour(place))),
            names[place] if place < len(names) else str(place),
        )
        for place in found
    ]
    if (masks == IGNORED).any():
        keys.append(element("span", element("i", style="background:#333"), "without label"))
    return element("p", *keys, class_="classkey")


def scenes(records: RunRecords) -> Html:
    """The section with the pictures that went worst and best."""
    title, gallery = "Worst and best", records.gallery
    truth, said = gallery["scene_truth"], gallery["scene_predictions"]
    names = [str(name) for name in records.run.get("classes") or []]
    fits = truth.shape == said.shape and truth.shape[1:] == gallery["scenes"].shape[2:]
    if not fits:
        return section("worst", title, empty(f"gallery.npz does not fit together: {truth.shape}, {said.shape}."))
    first = gallery["scene_is_worst"].astype(bool)
    parts: list[object] = [
        note("Picture, truth and prediction; beside the name the mean IoU of the picture alone."),
        legend(names, np.concatenate([truth, said])),
    ]
    for heading, chosen in (("Worst", np.flatnonzero(first)), ("Best", np.flatnonzero(~first))):
        if len(chosen):
            parts += [element("h3", heading), *(_scene(records, int(place)) for place in chosen)]
    return section("worst", title, *parts)


def _scene(records: RunRecords, place: int) -> Html:
    gallery = records.gallery
    picture, score = gallery["scenes"][place], float(gallery["scene_scores"][place])
    name = str(gallery["scene_names"][place])
    shown = [
        ("picture", picture),
        ("truth", overlay(picture, gallery["scene_truth"][place])),
        ("prediction", overlay(picture, gallery["scene_predictions"][place])),
    ]
    images = [element("img", src=png_uri(one), alt=f"{name}, {what}", loading="lazy") for what, one in shown]
    return element("figure", *images, element("figcaption", f"{name}: mean IoU {score:.3f}"), class_="scene")


def batch_with_masks(records: RunRecords) -> Html:
    """A batch as the network saw it, with its masks."""
    pictures, masks = records.gallery["batch"], records.gallery["batch_masks"]
    names = [str(name) for name in records.run.get("classes") or []]
    over = [overlay(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]
    body = join([legend(names, masks), sheet(np.stack(over), [])])
    text = "After resizing and augmentation, the masks laid over."
    return section("batch", "A batch as the network saw it", note(text), body)
