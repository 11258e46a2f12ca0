"""Folders of pictures, one folder a class, with or without train, valid and test above them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tenfold.core.errors import InputError
from tenfold.data.files import is_hidden, list_folder
from tenfold.data.inputs import ImageFileInputs, PictureFormat
from tenfold.data.pictures import PICTURE_SUFFIXES, Header, choose_format, decode_pictures, in_threads, read_header
from tenfold.data.scratch import whereabouts
from tenfold.data.source import Skipped, Source

PART_FOLDERS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid",
                "dev": "valid", "test": "test", "testing": "test"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One file of a class folder.

    Attributes:
        path: where it lies.
        label: its class folder's name.
        part: "train", "valid", "test", or None.
    """

    path: Path
    label: str
    part: str | None


def read_image_folder(
    folder: Path,
    *,
    image_size: int | tuple[int, int] | None,
    task: str | None,
    name: str,
    group: str | None = None,
    draw: Callable[[Source], Source] | None = None,
) -> Source:
    """A Source from class folders; what cannot be decoded is skipped and named.

    Args:
        folder: holds them.
        image_size: as in `read`.
        task: as in `read`.
        name: the source's name.
        group: a pattern of file names, with one group in parentheses that says what belongs together.
        draw: takes some of the rows, and the others are not decoded; None takes all.

    Raises:
        InputError: no class folders, no picture that can be read, a task other than classification, or a pattern
            of no use.
    """
    pattern = None if group is None else group_pattern(group)
    if task == "regression":
        raise InputError(f"{folder}: class folders ask for classification, got --task regression. Leave it out.")
    listed, notes = list_classes(folder)
    headers = in_threads(read_header, [item.path for item in listed])
    good = [item for item, header in zip(listed, headers, strict=True) if isinstance(header, Header)]
    shown = {item.path: item.path.relative_to(folder).as_posix() for item in listed}
    skipped = [
        Skipped(shown[item.path], header)
        for item, header in zip(listed, headers, strict=True)
        if isinstance(header, str)
    ]
    _refuse_none(folder, good, skipped)
    form, said = choose_format([header for header in headers if isinstance(header, Header)], image_size)
    while True:
        source = _undecoded(folder, listed, good, form, name, pattern)
        drawn = source if draw is None else draw(source)
        rows = np.arange(len(good)) if drawn.rows is None else drawn.rows
        names = [shown[good[row].path] for row in rows]
        pixels, kept, torn = decode_pictures([good[row].path for row in rows], form, names)
        skipped = sorted([*skipped, *torn], key=lambda entry: entry.path)
        if not torn:
            break
        good = [good[row] for row in np.setdiff1d(np.arange(len(good)), np.delete(rows, kept))]
        _refuse_none(folder, good, skipped)
        if drawn.rows is None:  # all that are good are decoded
            source = drawn = _undecoded(folder, listed, good, form, name, pattern)
            names = [names[place] for place in kept]
            break
    own, of_draw = source.notes, drawn.notes[len(source.notes) :]
    about = ("target: the class folder's name", said, *whereabouts(pixels, "pictures"), *notes)
    return replace(
        drawn,
        inputs=ImageFileInputs(tuple(names), pixels, form),
        skipped=tuple(skipped),
        notes=(*about, *own, *skipped_note(skipped), *of_draw),
    )


def _undecoded(
    folder: Path,
    listed: Sequence[Listed],
    good: Sequence[Listed],
    form: PictureFormat,
    name: str,
    pattern: re.Pattern[str] | None,
) -> Source:
    """A Source of files whose pixels are yet to be read."""
    notes: list[str] = []
    names = tuple(item.path.relative_to(folder).as_posix() for item in good)
    groups = None if pattern is None else group_labels(pattern, names)
    if groups is not None:
        notes.append(f"groups: {len(np.unique(groups))} by the file names (--group)")
    labels = _labels(good, listed, notes)
    return Source(
        name=name,
        kind="image",
        inputs=ImageFileInputs(names, np.empty((0, form.channels, *form.stored), np.uint8), form),
        targets=labels,
        task="classification",
        target_name="class",
        parts=None if good[0].part is None else np.array([item.part for item in good]),
        groups=groups,
        notes=tuple(notes),
        problem=_problem(folder, labels),
    )


def group_pattern(group: str) -> re.Pattern[str]:
    """The pattern of names that says what belongs together.

    Raises:
        InputError: it is no pattern, or has not one part in parentheses.
    """
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise InputError(
            f"--group {group!r} is no pattern ({error}). Write one such as '([^/_]+)_[0-9]+'."
        ) from error
    if pattern.groups != 1:
        raise InputError(
            f"--group {group!r} must have one part in parentheses that names the group, got {pattern.groups}. Write "
            "one such as '([^/_]+)_[0-9]+'."
        )
    return pattern


def group_labels(pattern: re.Pattern[str], names: Sequence[str]) -> np.ndarray:
    """What a pattern finds in each name, shape (N,).

    Raises:
        InputError: it does not match a name.
    """
    matches = [pattern.search(name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if match is None or match[1] is None:
            raise InputError(f"--group {pattern.pattern!r} does not match the file {name}. Write a wider pattern.")
    return np.array([match[1] for match in matches if match])


def skipped_note(skipped: Sequence[Skipped]) -> list[str]:
    """A sentence on skipped files, or none."""
    if not skipped:
        return []
    shown = ", ".join(f"{item.path} ({item.reason})" for item in skipped[:3])
    return [f"files: {len(skipped)} skipped, {'such as ' * (len(skipped) > 3)}{shown}"]


def _refuse_none(folder: Path, good: Sequence[Listed], skipped: Sequence[Skipped]) -> None:
    if not good:
        why = f": {skipped[0].path} {skipped[0].reason}" if skipped else ""
        raise InputError(f"{folder}: none of {len(skipped)} files is a readable picture{why}. Check the folder.")


def _labels(good: Sequence[Listed], listed: Sequence[Listed], notes: list[str]) -> np.ndarray:
    labels = np.array([item.label for item in good])
    for label in sorted({item.label for item in listed} - set(labels.tolist())):
        notes.append(f"class {label!r}: left out, it has no readable picture")
    return labels


def _problem(folder: Path, labels: np.ndarray) -> str:
    classes = np.unique(labels)
    if len(classes) > 1:
        return ""
    return (
        f"{folder}: the one class {classes[0].item()!r} has readable pictures, at least two classes are needed. "
        "Give a folder with a folder for each class."
    )


def list_classes(folder: Path) -> tuple[list[Listed], list[str]]:
    """Every file of every class folder, sorted, and a note for each inference.

    Raises:
        InputError: the folder holds no class folders.
    """
    folders = [entry for entry in list_folder(folder) if entry.is_dir()]
    names = {entry.name.lower() for entry in folders}
    if {"annotations", "jpegimages"} <= names:
        raise InputError(f"{folder}: these are boxes in Pascal VOC form; detection is not supported yet.")
    parts = {entry: PART_FOLDERS[entry.name.lower()] for entry in folders if entry.name.lower() in PART_FOLDERS}
    if parts and "train" in parts.values():
        return _list_parts(folder, parts, folders)
    if len(folders) == 1 and not _direct_files(folders[0]) and _has_folders(folders[0]):
        return list_classes(folders[0])
    listed = [item for entry in folders for item in _list_class(entry, None)]
    if not listed:
        pictures = sum(path.suffix.lower() in PICTURE_SUFFIXES for path in _direct_files(folder))
        found = f"{pictures} pictures in it, but no class folders" if pictures else "no class folders with files"
        raise InputError(f"{folder}: {found}. Put the pictures of each class in a folder named after it.")
    return listed, []


def _list_parts(folder: Path, parts: dict[Path, str], folders: Sequence[Path]) -> tuple[list[Listed], list[str]]:
    listed, notes = [], [f"parts: {', '.join(f'{entry.name}/' for entry in parts)} are kept as they are"]
    for entry, part in parts.items():
        items = [item for label in list_folder(entry) if label.is_dir() for item in _list_class(label, part)]
        if not items and part == "train":
            raise InputError(
                f"{entry}: no class folders with files. Put the pictures of each class in a folder named after it."
            )
        if not items:
            notes.append(f"{entry.name}/: not used, it has no class folders")
        listed += items
    others = [entry.name for entry in folders if entry not in parts]
    if others:
        notes.append(f"folders beside train/: not used ({', '.join(others[:5])})")
    return listed, notes


def _list_class(folder: Path, part: str | None) -> list[Listed]:
    return [Listed(path=path, label=folder.name, part=part) for path in files_below(folder)]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its folders, hidden ones left out, sorted; links are followed, but for those upwards.

    Raises:
        InputError: a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror}). Change its rights.")

    found = []
    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not (is_hidden(Path(name)) or _leads_up(Path(root, name))))
        found += [Path(root, name) for name in sorted(files) if not is_hidden(Path(name))]
    return found


def _leads_up(folder: Path) -> bool:
    """Whether a link leads to a folder that holds it, which would be walked in circles."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _direct_files(folder: Path) -> list[Path]:
    return [entry for entry in list_folder(folder) if entry.is_file()]


def _has_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in list_folder(folder))
