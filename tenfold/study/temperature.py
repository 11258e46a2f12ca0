"""Temperature scaling of a final model, on validation rows that none of its networks was trained on."""

from __future__ import annotations

from dataclasses import replace

from tenfold.data import DataPart
from tenfold.statistics import fit_temperature
from tenfold.study.model import Model
from tenfold.study.outputs import for_metrics


def with_temperature(model: Model, valid: DataPart) -> Model:
    """The model with the temperature that makes its probabilities of the validation rows the likeliest.

    A model that is right on every row stays without: the colder the likelier, and so there is no best one.

    Args:
        model: a classification's; others come back as they are.
        valid: rows that no network of it was trained on, transformed by the model's preprocessor.

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    if model.encoder.task != "classification":
        return model
    outputs = model.outputs_of(valid)
    targets = valid.targets.cpu()
    if bool((outputs.argmax(dim=1) == targets).all()):
        return model
    return replace(model, temperature=float(fit_temperature(for_metrics(model.encoder, outputs), targets)))
