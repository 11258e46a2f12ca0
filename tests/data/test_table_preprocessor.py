import json

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from tenfold.core.errors import InputError
from tenfold.data import ArrayInputs, TableInputs, TablePreprocessor, preprocessor_from_json, read_inputs

RNG = np.random.default_rng(0)


def fit(frame, rows=None):
    inputs = TableInputs(frame)
    return TablePreprocessor.fit(inputs, np.arange(len(frame)) if rows is None else rows), inputs


def test_numbers_agree_with_the_imputer_and_scaler_of_scikit_learn():
    values = RNG.lognormal(size=(200, 5))
    values[RNG.random((200, 5)) < 0.1] = np.nan
    rows = np.arange(0, 200, 2)
    preprocessor, inputs = fit(pd.DataFrame(values, columns=list("abcde")), rows)
    (numbers,) = preprocessor.transform(inputs)
    imputer = SimpleImputer(strategy="median").fit(values[rows])
    expected = StandardScaler().fit(imputer.transform(values[rows])).transform(imputer.transform(values))
    np.testing.assert_allclose(numbers[:, ::2], expected.clip(-10, 10), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(numbers[:, 1::2], np.isnan(values))
    assert preprocessor.spec.shape == (10,)


def test_statistics_come_from_training_rows_alone():
    frame = pd.DataFrame({"x": [0.0, 2.0, 1e6], "c": ["a", "b", "only in the test part"]})
    preprocessor, inputs = fit(frame, np.array([0, 1]))
    numbers, codes = preprocessor.transform(inputs)
    assert numbers[:, 0].tolist() == [-1, 1, 10]
    assert codes[:, 0].tolist() == [1, 2, 0]


def test_a_column_missing_only_later_gets_no_flag_and_the_median():
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, np.nan]})
    preprocessor, inputs = fit(frame, np.array([0, 1, 2]))
    assert preprocessor.transform(inputs)[0].shape == (4, 1)
    assert preprocessor.transform(inputs)[0][3].item() == 0


@pytest.mark.parametrize(
    "values",
    [[5.0] * 4, [1e308, -1e308, 1e308, 0], [np.nan] * 4, [0.0] * 4, [1e-300, 2e-300, 0, 0], [1e9 + 1, 1e9] * 2],
)
def test_odd_columns_give_finite_numbers(values):
    preprocessor, inputs = fit(pd.DataFrame({"x": values, "y": [1.0, 2, 3, 4]}))
    assert preprocessor.transform(inputs)[0].isfinite().all()


def test_tiny_numbers_are_standardised_like_others():
    preprocessor, inputs = fit(pd.DataFrame({"x": [1e-15, 3e-15]}))
    np.testing.assert_allclose(preprocessor.transform(inputs)[0][:, 0], [-1, 1], rtol=1e-6)


def test_codes_follow_frequency_and_zero_is_missing_or_new():
    preprocessor, _ = fit(pd.DataFrame({"c": ["b", "a", "b", None]}))
    later = TableInputs(pd.DataFrame({"c": ["a", "b", "new", None]}))
    assert preprocessor.transform(later)[1][:, 0].tolist() == [2, 1, 0, 0]
    assert preprocessor.spec.cardinalities == (3,)
    assert preprocessor.spec.shape == (0,)


def test_rare_levels_of_a_column_with_many_share_the_last_code():
    values = [f"often {i}" for i in range(40) for _ in range(3)] + [f"rare {i}" for i in range(30)]
    preprocessor, inputs = fit(pd.DataFrame({"c": values}))
    codes = preprocessor.transform(inputs)[1][:, 0].numpy()
    assert preprocessor.spec.cardinalities == (42,)
    assert set(codes[:120]) == set(range(1, 41))
    assert set(codes[120:]) == {41}
    assert preprocessor.transform(TableInputs(pd.DataFrame({"c": ["new", None]})))[1][:, 0].tolist() == [41, 0]


def test_no_column_has_more_than_130_codes():
    values = [f"level {i}" for i in range(500) for _ in range(4)]
    assert fit(pd.DataFrame({"c": values}))[0].spec.cardinalities == (130,)


def test_categories_that_arrive_as_numbers_meet_their_text():
    preprocessor, _ = fit(pd.DataFrame({"c": ["1", "2", "A", "1"]}))
    assert preprocessor.transform(TableInputs(pd.DataFrame({"c": [1.0, 2.0, np.nan]})))[1][:, 0].tolist() == [1, 2, 0]


def test_numbers_that_arrive_as_text_are_read():
    preprocessor, _ = fit(pd.DataFrame({"x": [0.0, 2.0]}))
    assert preprocessor.transform(TableInputs(pd.DataFrame({"x": ["2", "?", " 0"]})))[0][:, 0].tolist() == [1, 0, -1]


def test_json_keeps_every_bit():
    frame = pd.DataFrame({"数": RNG.normal(size=30), "x": [np.nan, *RNG.normal(size=29)], "类": list("abc") * 10})
    preprocessor, inputs = fit(frame)
    again = preprocessor_from_json(json.loads(json.dumps(preprocessor.to_json())))
    assert again.spec == preprocessor.spec
    for first, second in zip(preprocessor.transform(inputs), again.transform(inputs), strict=True):
        assert first.equal(second)


def test_missing_columns_are_named():
    preprocessor, _ = fit(pd.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]}))
    with pytest.raises(InputError, match="table: 1 of the 2 columns that the model takes is missing: 'b'"):
        preprocessor.transform(TableInputs(pd.DataFrame({"a": [1.0]})))


def test_a_missing_column_that_is_called_otherwise_is_offered():
    preprocessor, _ = fit(pd.DataFrame({"price": [1.0, 2.0], "b": ["u", "v"]}))
    with pytest.raises(InputError, match=r"^t\.csv: .* is missing: 'price'\. Give .* Did you mean 'Price'\?$"):
        preprocessor.check_columns(pd.DataFrame({"Price": [1.0], "b": ["u"]}), "t.csv")


def test_an_infinite_number_is_refused_as_in_training():
    preprocessor, _ = fit(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(InputError, match=r"column 'a' is infinite in 2 of 3 rows, first in row 1 \(counted from 0\)"):
        preprocessor.transform(TableInputs(pd.DataFrame({"a": [1.0, np.inf, -np.inf]})))


def test_values_that_training_never_saw_are_said():
    preprocessor, inputs = fit(pd.DataFrame({"a": [0.0, 2.0], "b": ["u", "v"]}))
    assert preprocessor.strangers(inputs) == ()
    other = TableInputs(pd.DataFrame({"a": ["1", "", "11.5", "1e300"], "b": ["u", "w", None, "v"]}))
    assert preprocessor.strangers(other) == (
        "column 'a': 2 of 4 values lie more than 10 standard deviations from the mean of training, such as 11.5; "
        "they are cut there",
        "column 'b': 1 of 4 values never came in training, such as 'w'; they count as missing",
    )


def test_levels_that_may_have_been_too_rare_are_no_strangers():
    preprocessor, _ = fit(pd.DataFrame({"a": np.arange(60.0), "b": [f"level {i}" for i in range(60)]}))
    assert preprocessor.strangers(TableInputs(pd.DataFrame({"a": [1.0], "b": ["new"]}))) == ()


def test_text_in_a_column_of_numbers_is_shown():
    preprocessor, _ = fit(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(InputError, match="column 'a' holds numbers, got 'oops' in row 1"):
        preprocessor.transform(TableInputs(pd.DataFrame({"a": ["1", "oops"]})))


def test_other_inputs_are_refused():
    preprocessor, _ = fit(pd.DataFrame({"a": [1.0, 2.0]}))
    pictures = ArrayInputs(np.zeros((2, 1, 4, 4), np.uint8))
    with pytest.raises(TypeError, match="TablePreprocessor: cannot take ArrayInputs"):
        preprocessor.transform(pictures)
    with pytest.raises(TypeError, match="TablePreprocessor: cannot take ArrayInputs"):
        TablePreprocessor.fit(pictures, np.arange(2))


def test_rows_that_are_all_alike_are_refused():
    frame = pd.DataFrame({"a": [1.0, 1.0, 2.0], "b": ["u", "u", "u"], "c": [np.nan, np.nan, np.nan]})
    inputs = TableInputs(frame, where="t.csv")
    with pytest.raises(
        InputError, match=r"^t\.csv: no input takes two values in the 2 .*\(column 'a' is 1\.0 in all\)"
    ):
        TablePreprocessor.fit(inputs, np.arange(2))
    TablePreprocessor.fit(inputs, np.arange(3))
    TablePreprocessor.fit(
        TableInputs(pd.DataFrame({"a": [1.0, np.nan]})), np.arange(2)
    )  # that it is missing may tell


@pytest.mark.parametrize(
    ("value", "message"), [("oops", "holds numbers, got 'oops'"), ("inf", "is infinite in 1 of 2")]
)
def test_messages_name_the_file_and_columns_without_a_name_by_their_place(tmp_path, value, message):
    preprocessor, _ = fit(pd.DataFrame({"column 0": [1.0, 2.0], "column 1": [1.0, 5.0]}))
    (tmp_path / "new.csv").write_text(f"1,2\n1,{value}\n")
    with pytest.raises(InputError, match=rf"^new\.csv: column 1 {message}"):
        preprocessor.transform(read_inputs(tmp_path / "new.csv", preprocessor).inputs)
