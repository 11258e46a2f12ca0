import json

import pytest

from tenfold.core.specs import InputSpec


@pytest.mark.parametrize(
    ("spec", "features"),
    [
        (InputSpec(kind="image", shape=(3, 4, 5)), 60),
        (InputSpec(kind="image", shape=(3, 4, 5), dense=True), 60),
        (InputSpec(kind="table", shape=(7,)), 7),
        (InputSpec(kind="table", shape=(0,), cardinalities=(3, 2)), 0),
    ],
)
def test_a_spec_counts_its_numbers_and_survives_json(spec, features):
    assert spec.num_features == features
    assert InputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(("kind", "shape", "sizes"), [("image", (3, 4), 3), ("table", (3, 4), 1)])
def test_a_shape_of_the_wrong_rank_is_refused(kind, shape, sizes):
    with pytest.raises(
        ValueError, match=rf"InputSpec: shape must have {sizes} sizes for kind '{kind}', got \(3, 4\)"
    ):
        InputSpec(kind=kind, shape=shape)


def test_a_spec_written_before_there_were_dense_ones_is_read():
    record = {"kind": "image", "shape": [1, 8, 8], "cardinalities": []}
    assert InputSpec.from_json(record) == InputSpec(kind="image", shape=(1, 8, 8))


def test_only_pictures_have_pixels():
    with pytest.raises(ValueError, match="InputSpec: dense must be False for kind 'table', which has no pixels"):
        InputSpec(kind="table", shape=(3,), dense=True)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="InputSpec: kind must be 'image' or 'table', got 'audio'"):
        InputSpec(kind="audio", shape=(3,))
