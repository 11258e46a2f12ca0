import numpy as np
import pandas as pd
import pytest

from tenfold.data import Source, TableInputs


@pytest.mark.parametrize(
    ("targets", "task", "message"),
    [
        ([0, 1], "classification", "one length, got 3 and 2"),
        ([0, 1, 2], "ranking", "task must be one of .* got 'ranking'"),
    ],
)
def test_a_source_that_does_not_fit_together_is_refused(targets, task, message):
    with pytest.raises(ValueError, match=message):
        Source(
            name="s",
            kind="table",
            inputs=TableInputs(pd.DataFrame({"x": [1, 2, 3]})),
            targets=np.array(targets),
            task=task,
        )
