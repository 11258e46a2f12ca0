"""The sets that scikit-learn ships, by name: a first run needs no download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import datasets

from tenfold.core.registry import Registry
from tenfold.data.inputs import ArrayInputs
from tenfold.data.source import Source
from tenfold.data.tables import TargetColumns, table_source
from tenfold.data.targets import clean_target


@dataclass(frozen=True, kw_only=True)
class Bundled:
    """A named set.

    Attributes:
        name: what to call it on the command line.
        description: one line.
        load: reads it; the arguments are the target column and the task that the user asked for, or None.
    """

    name: str
    description: str
    load: Callable[[TargetColumns, str | None], Source]


SOURCES: Registry[Bundled] = Registry("source")


def sources() -> tuple[Bundled, ...]:
    """All named sets, for the `sources` verb.

    Example:
        >>> [entry.name for entry in sources()]
        ['digits', 'iris', 'wine', 'breast_cancer', 'diabetes']
    """
    return tuple(SOURCES[name] for name in SOURCES)


_DARKEST = 16.0


def _digits(target: TargetColumns, task: str | None) -> Source:
    bunch = datasets.load_digits()
    # Values are counts of 0 to 16 dark pixels in each 4x4 block.
    images = (bunch.images / _DARKEST).astype(np.float32)[:, None]
    found = clean_target(bunch.target, name="target", task=task, where="digits", whole_are_classes=True)
    return Source(
        name="digits",
        kind="image",
        inputs=ArrayInputs(images, _DARKEST),
        targets=found.values,
        task=found.task,
        notes=found.notes,
    )


def _table(name: str, loader: Callable[..., object]) -> Callable[[TargetColumns, str | None], Source]:
    def load(target: TargetColumns, task: str | None) -> Source:
        bunch = loader(as_frame=True)
        frame = bunch.frame.copy()  # type: ignore[attr-defined]
        names = bunch.get("target_names")  # type: ignore[attr-defined]
        if names is not None and task != "regression":
            frame["target"] = np.asarray(names)[frame["target"]]
        return table_source(frame, target=target, task=task, name=name, where=name)

    return load


SOURCES.add(
    "digits",
    Bundled(name="digits", description="1,797 grey pictures of 8x8, handwritten digits, 10 classes", load=_digits),
)
for _name, _description, _loader in (
    ("iris", "150 flowers, 4 numbers, 3 classes", datasets.load_iris),
    ("wine", "178 wines, 13 numbers, 3 classes", datasets.load_wine),
    ("breast_cancer", "569 tumours, 30 numbers, 2 classes", datasets.load_breast_cancer),
    ("diabetes", "442 patients, 10 numbers, regression of disease progression", datasets.load_diabetes),
):
    SOURCES.add(_name, Bundled(name=_name, description=_description, load=_table(_name, _loader)))
