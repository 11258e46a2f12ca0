import pytest
import torch

from tenfold.core.seeds import torch_seed
from tenfold.nn import CategoryEmbedding, embedding_dim


@pytest.mark.parametrize(
    # computed by hand from fastai's rule: min(600, round(1.6 * n**0.56))
    ("cardinality", "dim"),
    [(1, 2), (2, 2), (7, 5), (50, 14), (365, 44), (39_283, 598), (39_600, 600), (10**7, 600)],
)
def test_the_width_follows_fastais_rule(cardinality, dim):
    assert embedding_dim(cardinality) == dim


def test_columns_are_looked_up_each_in_its_own_table_and_set_side_by_side():
    embedding = CategoryEmbedding([3, 5], dim=lambda count: count - 1)
    codes = torch.tensor([[0, 4], [2, 1]])
    first, second = (column.weight for column in embedding.columns)
    expected = torch.stack([torch.cat([first[0], second[4]]), torch.cat([first[2], second[1]])])
    assert torch.equal(embedding(codes), expected)
    assert embedding.out_features == 2 + 4


def test_weights_start_small():
    with torch_seed(0):
        [table] = CategoryEmbedding([1000]).parameters()
    assert table.abs().max() <= 0.02
    assert 0.008 < table.std() < 0.01  # a normal of 0.01 cut at two standard deviations has 0.0088


def test_a_table_without_columns_is_refused():
    with pytest.raises(ValueError, match="cardinalities must name a column, got none"):
        CategoryEmbedding([])


def test_a_column_without_codes_is_refused():
    with pytest.raises(ValueError, match="embedding_dim: cardinality must be at least 1, got 0"):
        CategoryEmbedding([0])
