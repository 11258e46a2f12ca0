import pytest
import torch
from torch import nn

from tenfold.tasks import Classification, MultiLabel, Regression, Segmentation


class Wrapped(nn.Module):
    """Returns its outputs in something, as detectors and language models do."""

    def __init__(self, wrap):
        super().__init__()
        self.layer, self.wrap = nn.Linear(3, 2), wrap

    def forward(self, x):
        return self.wrap(self.layer(x))


@pytest.mark.parametrize(
    ("wrap", "kind"), [(lambda y: (y, y), "tuple"), (lambda y: {"logits": y}, "dict"), (lambda y: None, "NoneType")]
)
@pytest.mark.parametrize("task", [Classification(2), MultiLabel("ab"), Regression(), Segmentation("ab")])
def test_a_model_that_returns_no_tensor_is_refused(task, wrap, kind):
    targets = torch.zeros(4, dtype=torch.long)
    with pytest.raises(TypeError, match=rf"^Wrapped: the model must return one tensor, got {kind}\. Wrap it in"):
        task.predict(Wrapped(wrap), (torch.zeros(4, 3), targets))
