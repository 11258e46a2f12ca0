"""Small files for the tests of sources, and the folder of real data sets where there is one."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def data_root() -> Path:
    root = os.environ.get("TENFOLD_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("TENFOLD_DATA names no folder of real data sets")
    return Path(root)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Writes a file below tmp_path and returns its path."""

    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.fixture
def class_folders(tmp_path) -> Callable[..., Path]:
    """Makes class folders of small pictures: `class_folders({"cat": 3}, size=(width, height))`."""

    def make(counts: dict[str, int], size=(16, 16), mode="RGB", suffix=".png", root="pets") -> Path:
        rng = np.random.default_rng(0)
        for label, count in counts.items():
            folder = tmp_path / root / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                values = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(values).convert(mode).save(folder / f"{number}{suffix}")
        return tmp_path / root

    return make
