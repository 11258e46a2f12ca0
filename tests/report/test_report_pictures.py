import base64
import io

import numpy as np
import pytest
from PIL import Image

from tenfold.report import RunRecords
from tenfold.report.pictures import batch, png_uri, worst


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (1, lambda p: p[0]),
        (2, lambda p: p.mean(axis=0).astype(np.uint8)),
        (3, lambda p: p.transpose(1, 2, 0)),
        (5, lambda p: p[:3].transpose(1, 2, 0)),
    ],
)
def test_a_picture_survives_its_data_uri(channels, expected):
    picture = np.random.default_rng(0).integers(0, 256, (channels, 7, 9), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(png_uri(picture)), expected(picture))


def test_large_pictures_are_shrunk():
    assert max(decoded(png_uri(np.zeros((3, 500, 250), np.uint8))).shape[:2]) == 160


def of(tmp_path, status="done", kind="image", **parts):
    return RunRecords(folder=tmp_path, run={"status": status, "input": {"kind": kind}}, **parts)


def test_captions_are_escaped_and_missing_ones_left_empty(tmp_path):
    gallery = {"worst": np.zeros((2, 1, 8, 8), np.uint8), "worst_captions": np.array(["<i>"])}
    markup = worst(of(tmp_path, gallery=gallery))
    assert "&lt;i&gt;" in markup
    assert markup.count("<img") == 2


def test_pictures_of_another_kind_are_refused_in_words(tmp_path):
    markup = batch(of(tmp_path, gallery={"batch": np.zeros((2, 3, 8, 8))}))
    assert "must be uint8 of shape (n, C, H, W), got float64 (2, 3, 8, 8)" in markup


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [("running", "image", "kept yet"), ("done", "image", "been kept."), ("done", "table", "rows of a table")],
)
def test_no_batch_is_explained(tmp_path, status, kind, sentence):
    assert sentence in batch(of(tmp_path, status, kind))


def test_rows_of_a_table_show_their_values(tmp_path):
    rows = ({"row": 7, "target": "a<b", "prediction": "c", "confidence": 0.987, "values": {"x": 1.5, "y": None}},)
    markup = worst(of(tmp_path, worst_rows=rows))
    assert "a&lt;b" in markup
    assert "99 %" in markup
    assert "1.5" in markup


def test_a_table_with_many_columns_says_what_it_leaves_out(tmp_path):
    rows = ({"row": 0, "target": 1, "prediction": 2, "values": {f"column{i}": i for i in range(14)}},)
    assert "2 more columns not shown" in worst(of(tmp_path, worst_rows=rows))
