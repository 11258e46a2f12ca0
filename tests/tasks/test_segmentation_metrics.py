"""Metrics from counts against scikit-learn's over all labelled pixels, and the baselines of maps."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score
from torch import nn

from tenfold.statistics import resampled_rows
from tenfold.tasks import BaselinePart, Segmentation, metric_intervals, run_baselines
from tenfold.tasks.segmentation_metrics import class_counts, counts_of_maps

K = 5


def drawn(seed, pictures=6, classes=K, size=(8, 9)):
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=(pictures, *size)).astype(np.uint8)
    said = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(classes, size=truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    return torch.from_numpy(said), torch.from_numpy(truth)


def measured(counts, targets, weights=None):
    return Segmentation(tuple(range(K))).measure(counts[None], targets, weights)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [K, 2])
def test_metrics_are_scikit_learns_over_the_labelled_pixels(seed, classes):
    said, truth = drawn(seed, classes=classes)
    labelled = truth != 255
    y, p = truth[labelled].numpy(), said[labelled].numpy()
    found = {name: value.item() for name, value in measured(class_counts(said, truth, K), truth).items()}
    assert found["miou"] == pytest.approx(jaccard_score(y, p, average="macro"), abs=1e-12)
    assert found["mean_dice"] == pytest.approx(f1_score(y, p, average="macro"), abs=1e-12)
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(y, p), abs=1e-12)
    each = jaccard_score(y, p, average=None, labels=range(classes))
    assert [found[f"iou_{k}"] for k in range(classes)] == pytest.approx(each.tolist(), abs=1e-12)
    assert all(np.isnan(found[f"iou_{k}"]) for k in range(classes, K))


def test_counts_are_margins_and_diagonal_of_the_confusion_matrix():
    said, truth = drawn(0)
    for picture, counts in enumerate(counts_of_maps(said, truth, K).numpy()):
        labelled = truth[picture] != 255
        table = confusion_matrix(truth[picture][labelled], said[picture][labelled], labels=range(K))
        assert counts.tolist() == [table.diagonal().tolist(), table.sum(axis=1).tolist(), table.sum(axis=0).tolist()]


def test_a_class_that_nobody_has_counts_nowhere_and_one_that_is_only_said_counts_as_missed():
    truth = torch.zeros(1, 1, 4, dtype=torch.uint8)
    said = torch.tensor([[[0, 0, 0, 3]]])
    assert measured(class_counts(said, truth, K), truth)["miou"].item() == pytest.approx((3 / 4 + 0) / 2)


def test_without_a_labelled_pixel_there_is_no_score():
    truth = torch.full((2, 3, 3), 255, dtype=torch.uint8)
    found = measured(class_counts(torch.zeros(2, 3, 3), truth, K), truth)
    assert all(value.isnan().all() for value in found.values())


def test_weights_repeat_pictures():
    said, truth = drawn(1)
    rows = [0, 0, 3, 5, 5, 5]
    weights = torch.tensor([[2.0, 0, 0, 1, 0, 3]])
    counts = class_counts(said, truth, K)
    repeated = measured(counts[rows], truth[rows])
    for name, value in measured(counts, truth, weights).items():
        assert value.tolist() == pytest.approx(repeated[name].tolist())


def test_members_may_have_weights_of_their_own():
    task, (said, truth) = Segmentation(tuple(range(K))), drawn(2)
    counts = torch.stack([class_counts(said, truth, K), class_counts(said.flip(0), truth, K)])
    weights = torch.tensor([[1.0, 2, 3, 0, 1, 1], [0.0, 1, 1, 1, 4, 2]])
    together = task.measure(counts, truth, weights)
    for place in range(2):
        alone = task.measure(counts[place][None], truth, weights[place][None])
        assert {name: v[place].item() for name, v in together.items()} == pytest.approx(
            {name: v.item() for name, v in alone.items()}
        )


def test_the_interval_is_over_pictures():
    said, truth = drawn(3, pictures=20)
    task = Segmentation(tuple(range(K)), metrics=["miou", "pixel_accuracy"])
    found = metric_intervals(task, class_counts(said, truth, K), truth, seed=4, num_resamples=200)
    rng_values = []
    for rows in resampled_rows(20, 200, 4):
        labelled = truth[rows] != 255
        rng_values.append(accuracy_score(truth[rows][labelled], said[rows][labelled]))
    assert found["miou"]["n"] == 20
    assert found["pixel_accuracy"]["low"] == pytest.approx(np.quantile(rng_values, 0.025))
    assert found["pixel_accuracy"]["high"] == pytest.approx(np.quantile(rng_values, 0.975))


def test_baselines_say_one_map_of_every_picture():
    rng = np.random.default_rng(0)
    masks = np.zeros((12, 6, 6), np.uint8)
    masks[:, 3:] = 1
    masks[:, :, 0] = 2
    masks[rng.random(masks.shape) < 0.1] = 0
    masks[:, 0, 5] = 255
    x = np.zeros((12, 1, 6, 6))
    part = BaselinePart(x=x, y=masks)
    task = Segmentation(("a", "b", "c"))
    majority, prior = run_baselines(task, part.take(np.arange(8)), part.take(np.arange(8, 12)), part, kind="image")
    assert (majority.name, prior.name) == ("majority", "per-pixel prior")
    labelled = masks[8:] != 255
    commonest = np.bincount(masks[:8][masks[:8] != 255]).argmax()
    assert majority.valid["pixel_accuracy"] == pytest.approx((masks[8:][labelled] == commonest).mean())
    mode = np.array([[np.bincount(masks[:8, i, j], minlength=3)[:3].argmax() for j in range(6)] for i in range(6)])
    said = np.broadcast_to(mode, masks[8:].shape)
    assert prior.valid["miou"] == pytest.approx(jaccard_score(masks[8:][labelled], said[labelled], average="macro"))
    assert prior.test["miou"]["n"] == 12


def test_what_a_network_says_is_counted_as_its_likeliest_class():
    said, truth = drawn(5)
    logits = nn.functional.one_hot(said.long(), K).movedim(-1, 1).double()
    task = Segmentation(tuple(range(K)))
    assert torch.equal(task.predict(nn.Identity(), (logits, truth)), class_counts(said, truth, K))
