import pytest

from tenfold.core.errors import InputError
from tenfold.data import TargetEncoder
from tenfold.tasks import TASKS, Classification, Regression, metric_of, task_from

CLASSES = TargetEncoder(task="classification", classes=("ant", "bee"))
NUMBERS = TargetEncoder(task="regression", mean=3.0, std=2.0)


def test_tasks_are_found_by_name():
    assert TASKS["classification"] is Classification
    assert TASKS["regression"] is Regression


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
