import pytest
import torch

from tenfold.core.errors import InputError
from tenfold.data import TargetEncoder
from tenfold.tasks import TASKS, Classification, MultiLabel, OwnMetric, Regression, metric_of, task_from

CLASSES = TargetEncoder(task="classification", classes=("ant", "bee"))
NUMBERS = TargetEncoder(task="regression", mean=3.0, std=2.0)
LABELS = TargetEncoder(task="multilabel", labels=("sun", "wind"))


def test_tasks_are_found_by_name():
    assert TASKS["classification"] is Classification
    assert TASKS["regression"] is Regression
    assert TASKS["multilabel"] is MultiLabel


def test_an_unknown_task_is_answered_with_the_near_miss():
    with pytest.raises(InputError, match=r"unknown task 'regresion'\. Did you mean 'regression'\?"):
        TASKS["regresion"]


@pytest.mark.parametrize(
    ("task", "name", "direction"),
    [
        (Classification(3), None, "maximize"),
        (Classification(3), "log_loss", "minimize"),
        (Regression(), None, "minimize"),
        (Regression(), "r2", "maximize"),
    ],
)
def test_a_metric_knows_which_way_is_better(task, name, direction):
    assert metric_of(task, name).direction == direction


@pytest.mark.parametrize(
    ("task", "name", "message"),
    [
        (Classification(3), "logloss", r"unknown metric 'logloss' for classification\. Did you mean 'log_loss'\?"),
        (Classification(3), "auc", r"Did you mean 'roc_auc'\?"),
        (
            Regression(),
            "accuracy",
            r"unknown metric 'accuracy' for regression\. Choose from 'explained_variance', 'mae'",
        ),
    ],
)
def test_an_unknown_metric_is_answered_with_the_near_miss(task, name, message):
    with pytest.raises(InputError, match=message):
        metric_of(task, name)


def test_encoded_classes_make_a_classification():
    task = task_from(CLASSES)
    assert isinstance(task, Classification)
    assert task.class_names == ("ant", "bee")


def test_encoded_numbers_make_a_regression_in_their_units():
    task = task_from(NUMBERS, loss="l1")
    assert isinstance(task, Regression)
    assert (task.mean, task.scale, task.loss_name) == (3.0, 2.0, "l1")


def test_a_dear_metric_is_computed_when_it_is_the_one_asked_for():
    many = TargetEncoder(task="classification", classes=tuple(range(50)))
    assert "roc_auc" not in task_from(many).info.metrics
    assert "roc_auc" in task_from(many, metric="roc_auc").info.metrics


def test_a_metric_of_another_task_is_refused():
    with pytest.raises(InputError, match="unknown metric 'rmse' for classification"):
        task_from(CLASSES, metric="rmse")


def test_encoded_labels_make_a_multi_label_task():
    task = task_from(LABELS, loss="focal", class_weights=torch.tensor([2.0, 3.0]))
    assert isinstance(task, MultiLabel)
    assert (task.label_names, task.loss_name, task.positive_weights.tolist()) == (
        ("sun", "wind"),
        "focal",
        [2.0, 3.0],
    )


def test_classes_in_order_get_the_ordinal_loss_unless_another_is_named():
    ordered = TargetEncoder(task="classification", classes=("low", "high"), ordered=True)
    assert task_from(ordered).loss_name == "ordinal"
    assert task_from(ordered, loss="focal").loss_name == "focal"


def test_quantiles_of_the_encoder_are_those_of_the_task():
    task = task_from(TargetEncoder(task="regression", mean=3.0, std=2.0, quantiles=(0.1, 0.5, 0.9)))
    assert (task.quantiles, task.mean, task.num_outputs) == ((0.1, 0.5, 0.9), 3.0, 3)


@pytest.mark.parametrize("encoder", [CLASSES, NUMBERS, LABELS])
def test_a_metric_of_ones_own_joins_the_usual_ones(encoder):
    own = OwnMetric(function=lambda y, p: 0.0, name="own", direction="minimize")
    assert list(task_from(encoder, metric=own).info.metrics) == [*task_from(encoder).info.metrics, "own"]


def test_weights_are_refused_for_a_regression():
    with pytest.raises(InputError, match=r"task_from: class_weights are for classes and labels, .*Leave them out"):
        task_from(NUMBERS, class_weights=torch.ones(2))
