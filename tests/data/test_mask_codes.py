import json

import numpy as np
import pytest

from tenfold.core.errors import InputError
from tenfold.data.mask_codes import IGNORED, MaskCodes, find_codes


@pytest.mark.parametrize(
    ("present", "names", "ignore", "values", "titles", "ignored"),
    [
        ([0, 1, 2, 255], None, None, (0, 1, 2), (0, 1, 2), (255,)),
        ([0, 1, 11], None, [11], (0, 1), (0, 1), (11, 255)),
        ([0, 255], None, None, (0, 255), (0, 255), ()),
        ([0, 7, 255], None, [0], (7,), None, None),
        ([0, 128], None, [], (0, 128), (0, 128), (255,)),
        ([1, 2], ["void", "cat", "dog"], [0], (1, 2), ("cat", "dog"), (0, 255)),
        ([0, 1], ["sky", "road", "car"], None, (0, 1, 2), ("sky", "road", "car"), (255,)),
    ],
)
def test_classes_are_the_names_or_what_the_masks_hold(present, names, ignore, values, titles, ignored):
    if titles is None:
        with pytest.raises(
            InputError, match="street: masks must hold at least two classes, got 7 besides the ignored values 0, 255"
        ):
            find_codes(present, names, ignore, "street")
        return
    codes, said = find_codes(present, names, ignore, "street")
    assert (codes.values, codes.names, codes.ignored) == (values, titles, ignored)
    assert f"classes: {len(values)}" in said


def test_masks_are_encoded_decoded_and_kept_as_json():
    codes = MaskCodes(values=(0, 7, 9), names=("a", "b", "c"), ignored=(3, 255))
    masks = np.array([[[0, 7, 9, 3, 255]]], np.uint8)
    places = codes.encode(masks)
    assert places.dtype == np.uint8
    assert places.tolist() == [[[0, 1, 2, IGNORED, IGNORED]]]
    assert codes.decode(np.array([2, 0, 1])).tolist() == [9, 0, 7]
    assert MaskCodes.from_json(json.loads(json.dumps(codes.to_json()))) == codes


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: find_codes([0, 1, 12], ["sky", "road"], None, "street"),
            InputError,
            "street: masks hold the value 12, which is out of range for 2 class names. .* --ignore 12",
        ),
        (lambda: find_codes([0, 1], ["a", "a"], None, "street"), InputError, "two classes are called 'a'"),
        (lambda: find_codes([0, 1], None, [300], "street"), InputError, "--ignore must be in 0 to 255, got 300"),
        (
            lambda: find_codes([4], None, None, "street"),
            InputError,
            "must hold at least two classes, got 4 besides the ignored values 255",
        ),
        (lambda: find_codes(range(255), None, None, "street"), InputError, "masks may have 254 classes, got 255"),
        (
            lambda: MaskCodes(values=(0, 1), names=("a", "b"), ignored=()).encode(np.array([[5]], np.uint8)),
            InputError,
            "masks: the value 5 is none of the classes 0, 1 that training had",
        ),
        (lambda: MaskCodes(values=(0,), names=("a",), ignored=()), ValueError, "values must be 2 to 254"),
    ],
)
def test_values_that_make_no_classes_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
