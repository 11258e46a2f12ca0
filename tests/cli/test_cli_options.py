"""Words of the command line as values."""

from __future__ import annotations

import pytest

from tenfold.cli.options import values_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("false", False), ("False", False), ("True", True), ("None", None), ("null", None), ("0.5", 0.5), ("3", 3),
        ("relu", "relu"),
    ],
)  # fmt: skip
def test_a_value_may_be_written_as_in_json_or_as_in_python(text: str, value: object) -> None:
    assert values_of([f"key={text}"]) == {"key": value}
