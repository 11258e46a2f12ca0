"""Folders of pictures beside masks: which picture has which mask, which part it belongs to, what its classes are.

Layouts, each matched by the files' names without their suffix (a mask's may end in `_mask`, `_label` or `_P`):

- `images/` beside `masks/`, `labels/` or `annotations/`, flat or in folders of the same names; parts are `train/`,
  `val/` and `test/` in both, or what `train.txt`, `val.txt` and `test.txt` list, where there are any;
- `train/` beside `trainannot/`, and so on (CamVid's), also `train_masks/` or `train_labels/`;
- `train/images/` beside `train/masks/`, and so on.

`classes.txt` or `codes.txt` names the classes, a line each, the first that of value 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tenfold.core.errors import InputError
from tenfold.data.files import list_folder, read_bytes
from tenfold.data.image_folder import PART_FOLDERS, files_below, group_labels, group_pattern, skipped_note
from tenfold.data.inputs import ImageFileInputs, PictureFormat
from tenfold.data.mask_codes import MaskCodes, find_codes
from tenfold.data.masks import MASK_SUFFIXES, choose_scene_format, decode_mask
from tenfold.data.pictures import PICTURE_SUFFIXES, Header, decode_pictures, in_threads, read_header, why_not
from tenfold.data.scratch import keep_rows, whereabouts
from tenfold.data.source import SEGMENTATION, Skipped, Source

PICTURE_FOLDERS = ("images", "imgs", "pictures")
MASK_FOLDERS = ("masks", "labels", "annotations", "annots")
MASK_ENDINGS = ("_mask", "_label", "_P")
_BESIDE = ("annot", "_masks", "_labels", "_annotations")
_NAME_FILES = ("classes.txt", "codes.txt")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture and its mask.

    Attributes:
        picture: where it lies.
        mask: where it lies; None where there is none.
        part: "train", "valid", "test", or None.
    """

    picture: Path
    mask: Path | None
    part: str | None


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """What a folder of pictures beside masks holds.

    Attributes:
        root: the folder that holds it.
        pairs: in the order of parts and names.
        notes: a sentence for each inference.
    """

    root: Path
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def find_scenes(folder: Path) -> Scenes | None:
    """The pictures and masks of a folder; None where it has no such layout.

    Raises:
        InputError: the masks are in a format that does not keep their values.
    """
    folders = {entry.name.lower(): entry for entry in list_folder(folder) if entry.is_dir()}
    own = _beside(folders)
    if own is not None:
        return _of_one(folder, *own)
    found: list[tuple[str, Path, Path]] = []
    for name, entry in folders.items():
        masks = next((folders[name + end] for end in _BESIDE if name + end in folders), None)
        inner = None if masks else _beside({one.name.lower(): one for one in list_folder(entry) if one.is_dir()})
        if name in PART_FOLDERS and (masks or inner):
            found.append((PART_FOLDERS[name], *(inner or (entry, masks))))  # type: ignore[arg-type]
    if found:
        found.sort(key=lambda group: ("train", "valid", "test").index(group[0]))
        pairs = [pair for part, pictures, masks in found for pair in _pairs(pictures, masks, {}, part)]
        said = ", ".join(f"{path.relative_to(folder)}/ with {masks.relative_to(folder)}/" for _, path, masks in found)
        return Scenes(root=folder, pairs=tuple(pairs), notes=(f"parts: {said}",))
    if len(folders) == 1 and not any(entry.is_file() for entry in list_folder(folder)):
        return find_scenes(next(iter(folders.values())))
    return None


def _beside(folders: Mapping[str, Path]) -> tuple[Path, Path] | None:
    """The folders of pictures and of masks, where both are among these."""
    pictures = next((folders[name] for name in PICTURE_FOLDERS if name in folders), None)
    masks = next((folders[name] for name in MASK_FOLDERS if name in folders), None)
    if pictures is None or masks is None:
        return None
    if _files(masks, MASK_SUFFIXES):
        return pictures, masks
    blurred = {_key(path, masks): path for path in _files(masks, PICTURE_SUFFIXES)}
    same = [blurred[key] for path in _files(pictures, PICTURE_SUFFIXES) if (key := _key(path, pictures)) in blurred]
    if same:
        raise InputError(
            f"{masks}: masks must be files that keep every value ({', '.join(MASK_SUFFIXES)}), got "
            f"{same[0].name}. Export them anew."
        )
    return None


def _of_one(root: Path, pictures: Path, masks: Path) -> Scenes:
    listed = _lists(root)
    pairs = _pairs(pictures, masks, listed, None)
    notes = [f"pictures: {pictures.name}/, masks: {masks.name}/"]
    if listed:
        left = len(_files(pictures, PICTURE_SUFFIXES)) - len(pairs)
        notes.append("parts: as train.txt and its like list them" + (f"; {left} pictures are in none" * bool(left)))
    elif any(pair.part for pair in pairs):
        notes.append(f"parts: the folders in {pictures.name}/ are kept as they are")
    return Scenes(root=root, pairs=tuple(pairs), notes=tuple(notes))


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return [path for path in files_below(folder) if path.suffix.lower() in suffixes]


def _pairs(pictures: Path, masks: Path, listed: Mapping[str, str], part: str | None) -> list[Pair]:
    by_key = {_key(path, masks): path for path in _files(masks, MASK_SUFFIXES)}
    found = []
    for path in _files(pictures, PICTURE_SUFFIXES):
        key = _key(path, pictures)
        if listed and path.stem not in listed:
            continue
        own = part or listed.get(path.stem) or PART_FOLDERS.get(key.split("/")[0].lower() if "/" in key else "")
        mask = next((by_key[key + end] for end in ("", *MASK_ENDINGS) if key + end in by_key), None)
        found.append(Pair(picture=path, mask=mask, part=own))
    if any(pair.part is None for pair in found):
        found = [Pair(picture=pair.picture, mask=pair.mask, part=None) for pair in found]
    return found


def _key(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _lists(root: Path) -> dict[str, str]:
    """By a picture's name its part, from `train.txt` and its like."""
    found: dict[str, str] = {}
    for name, part in PART_FOLDERS.items():
        path = root / f"{name}.txt"
        if path.is_file():
            lines = read_bytes(path).decode("utf-8", "replace").split("\n")
            found |= {Path(line.split()[0]).stem: part for line in lines if line.strip()}
    return found if "train" in found.values() else {}


def read_mask_folder(
    scenes: Scenes,
    *,
    image_size: int | tuple[int, int] | None,
    name: str,
    group: str | None = None,
    ignore: Sequence[int] | None = None,
    codes: MaskCodes | None = None,
) -> Source:
    """A Source from pictures beside masks; pairs of which one cannot be decoded are skipped and named.

    Args:
        scenes: what the folder holds.
        image_size: as in `read`.
        name: the source's name.
        group: a pattern of file names, with one group in parentheses that says what belongs together.
        ignore: values of masks that are no class.
        codes: the classes, where they are known already; None to find them.

    Raises:
        InputError: no pictures, a picture without a mask or with one of another size, values that make no classes.
    """
    pattern = None if group is None else group_pattern(group)
    readable, skipped = _readable(scenes)
    form, said = choose_scene_format([one.header for one in readable], image_size)
    kept, pixels, masks, torn = _decode(scenes.root, readable, form)
    skipped = sorted([*skipped, *torn], key=lambda entry: entry.path)
    _refuse_nothing(scenes.root, kept, skipped)
    about = "classes: those of training"
    if codes is None:
        present = sorted({int(value) for _, values in masks for value in values})
        codes, about = find_codes(present, _class_names(scenes.root), ignore, name)
    files = tuple(one.name for one in kept)
    groups = None if pattern is None else group_labels(pattern, files)
    counted = [] if groups is None else [f"groups: {len(np.unique(groups))} by the file names (--group)"]
    return Source(
        name=name,
        kind="image",
        inputs=ImageFileInputs(files, pixels, form),
        targets=np.stack([mask for mask, _ in masks]),
        task=SEGMENTATION,
        target_name="mask",
        parts=None if kept[0].pair.part is None else np.array([one.pair.part for one in kept]),
        groups=groups,
        codes=codes,
        skipped=tuple(skipped),
        notes=(f"task: {SEGMENTATION} (pictures beside masks; --task)", *scenes.notes, said,
               *whereabouts(pixels, "pictures"), about, *counted, *skipped_note(skipped)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Readable:
    """A pair of which both files have a header."""

    pair: Pair
    name: str
    mask: Path
    mask_name: str
    header: Header


def _readable(scenes: Scenes) -> tuple[list[_Readable], list[Skipped]]:
    """The pairs whose headers can be read and agree, and the files that cannot be read."""
    root = scenes.root
    _refuse_without_masks(root, scenes.pairs)
    headers = in_threads(read_header, [pair.picture for pair in scenes.pairs])
    of_masks = in_threads(read_header, [pair.mask for pair in scenes.pairs if pair.mask is not None])
    good, skipped = [], []
    for pair, header, of_mask in zip(scenes.pairs, headers, of_masks, strict=True):
        assert pair.mask is not None
        name, mask_name = _shown(pair.picture, root), _shown(pair.mask, root)
        if isinstance(header, str):
            skipped.append(Skipped(name, header))
        elif isinstance(of_mask, str):
            skipped.append(Skipped(mask_name, of_mask))
        else:
            _refuse_sizes(name, header, mask_name, of_mask)
            good.append(_Readable(pair=pair, name=name, mask=pair.mask, mask_name=mask_name, header=header))
    _refuse_nothing(root, good, skipped)
    return good, skipped


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


Mask = tuple[np.ndarray, np.ndarray]


def _decode(
    root: Path, readable: Sequence[_Readable], form: PictureFormat
) -> tuple[list[_Readable], np.ndarray, list[Mask], list[Skipped]]:
    """The pairs that can be decoded, their pixels and masks, and the files that cannot."""

    def decode(one: _Readable) -> Mask | Skipped:
        try:
            return decode_mask(one.mask, one.mask_name, form.height, form.width)
        except InputError:
            raise
        except Exception as error:  # Pillow's formats raise errors of any family on torn files
            return Skipped(one.mask_name, why_not(one.mask, error))

    pixels, whole, skipped = decode_pictures([one.pair.picture for one in readable], form, [o.name for o in readable])
    pictures = [readable[place] for place in whole]
    found = in_threads(decode, pictures)
    torn = [item for item in found if isinstance(item, Skipped)]
    good = [place for place, item in enumerate(found) if not isinstance(item, Skipped)]
    masks = [item for item in found if not isinstance(item, Skipped)]
    kept = keep_rows(pixels, np.array(good, np.int64))
    return [pictures[place] for place in good], kept, masks, [*skipped, *torn]


def _refuse_without_masks(root: Path, pairs: Sequence[Pair]) -> None:
    if not pairs:
        raise InputError(f"{root}: holds no pictures. Give a folder of pictures beside masks.")
    lacking = [pair.picture for pair in pairs if pair.mask is None]
    if lacking:
        some = f"{len(lacking)} of {len(pairs)} pictures have no mask, such as {_shown(lacking[0], root)}"
        suffixes = ", ".join(MASK_SUFFIXES)
        raise InputError(f"{root}: {some}. Give each a mask of the same name ({suffixes}), or remove it.")


def _refuse_nothing(root: Path, good: Sequence[object], skipped: Sequence[Skipped]) -> None:
    if not good:
        why = f"{skipped[0].path} {skipped[0].reason}"
        raise InputError(f"{root}: none of the pictures can be read together with its mask: {why}. Check the folder.")


def _refuse_sizes(picture: str, header: Header, mask: str, of_mask: Header) -> None:
    if (header.height, header.width) != (of_mask.height, of_mask.width):
        raise InputError(
            f"{mask}: a mask must have the size of its picture, got {of_mask.height}x{of_mask.width} for {picture} "
            f"of {header.height}x{header.width}. Mend the mask."
        )


def _class_names(root: Path) -> list[str] | None:
    path = next((root / name for name in _NAME_FILES if (root / name).is_file()), None)
    if path is None:
        return None
    lines = [line.strip() for line in read_bytes(path).decode("utf-8-sig", "replace").split("\n")]
    names = [line for line in lines if line]
    if not names:
        raise InputError(f"{path}: names no classes. Write a name a line, the first that of value 0.")
    return names


def no_scenes(where: object) -> InputError:
    """The error for a source of which a segmentation was asked, and which is no pictures beside masks."""
    return InputError(
        f"{where}: a segmentation needs a folder of pictures beside masks, such as images/ and masks/, or train/ and "
        "trainannot/. Give one, or leave --task out."
    )
