"""What a reader should see of the data: a batch as the network saw it, and the samples that went worst."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenfold.data import TableInputs, TargetEncoder
from tenfold.study.material import DatasetProvider, Material
from tenfold.study.outputs import answers_of, confidence_of, middle
from tenfold.study.pixels import as_pixels
from tenfold.study.scene_gallery import write_scenes

_PICTURES = 16
_ROWS = 12


def write_gallery(folder: Path, material: Material, outputs: np.ndarray, seed: int) -> None:
    """Writes `gallery.npz` for pictures or `gallery.json` for tables.

    Args:
        folder: the run folder.
        material: the data.
        outputs: of the final model on the test part, as `Model.outputs` gives them.
        seed: of the run, so that the batch is the first that training saw.
    """
    if material.test is None:
        return
    if material.encoder.codes is not None:
        write_scenes(folder / "gallery.npz", material, outputs, seed)
        return
    worst = worst_first(material.encoder, outputs, material.test.targets.cpu().numpy())
    if material.preprocessor.spec.kind == "image":
        _write_pictures(folder / "gallery.npz", material, outputs, worst[:_PICTURES], seed)
    elif isinstance(material.source.inputs, TableInputs):
        _write_rows(folder / "gallery.json", material, outputs, worst[:_ROWS])


def worst_first(encoder: TargetEncoder, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Places of the test samples, the least probable target (or the largest error) first.

    Example:
        >>> encoder = TargetEncoder(task="classification", classes=("a", "b"))
        >>> worst_first(encoder, np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([1, 1]))
        array([0, 1])
    """
    if encoder.classes is not None:
        return np.argsort(outputs[np.arange(len(targets)), targets], kind="stable")
    if encoder.labels is not None:
        return np.argsort(np.where(targets > 0, outputs, 1 - outputs).prod(axis=1), kind="stable")
    return np.argsort(-np.abs(middle(encoder, outputs) - targets), kind="stable")


def _write_pictures(path: Path, material: Material, outputs: np.ndarray, worst: np.ndarray, seed: int) -> None:
    assert material.test is not None
    provider = DatasetProvider(material, batch_size=_PICTURES, seed=seed)
    batch, labels = next((batch[0], batch[-1]) for batch in provider.epoch(0))
    shown = material.preprocessor.prepare_batch(
        tuple(t[torch.from_numpy(worst)] for t in material.test.inputs), False
    )
    targets = material.test.targets[torch.from_numpy(worst)]
    np.savez_compressed(
        path,
        batch=as_pixels(batch),
        batch_labels=_labels(material, labels.cpu().numpy()),
        worst=as_pixels(shown[0]),
        worst_captions=_captions(material, outputs[worst], targets.cpu().numpy()),
    )


def _labels(material: Material, encoded: np.ndarray) -> np.ndarray:
    return _shown(material.encoder.decode(encoded))


def _shown(values: np.ndarray) -> np.ndarray:
    return np.array([_show(value) for value in values], dtype=np.str_)


def _captions(material: Material, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    truth, said = _labels(material, targets), _shown(answers_of(material.encoder, outputs))
    sure = confidence_of(material.encoder, outputs)
    if sure is None:
        return np.array([f"{t}, predicted {s}" for t, s in zip(truth, said, strict=True)], dtype=np.str_)
    return np.array(
        [f"{t}, predicted {s} ({p:.0%})" for t, s, p in zip(truth, said, sure, strict=True)], dtype=np.str_
    )


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value) or "none"


def _write_rows(path: Path, material: Material, outputs: np.ndarray, worst: np.ndarray) -> None:
    assert material.test is not None
    assert isinstance(material.source.inputs, TableInputs)
    frame = material.source.inputs.frame
    targets = material.test.targets.cpu().numpy()
    truth, said = material.encoder.decode(targets[worst]), answers_of(material.encoder, outputs[worst])
    sure = confidence_of(material.encoder, outputs[worst])
    lines = []
    for number, place in enumerate(worst.tolist()):
        row = int(material.test.rows[place])
        values = {str(name): _plain(value) for name, value in frame.iloc[row].items()}
        lines.append(
            {
                "row": int(material.source.row_numbers(np.array(row))),
                "target": _plain(truth[number]),
                "prediction": _plain(said[number]),
                "confidence": None if sure is None else float(sure[number]),
                "values": values,
            }
        )
    path.write_text(json.dumps({"worst": lines}, ensure_ascii=False), encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, bool | int | str) or value is None else str(value)
