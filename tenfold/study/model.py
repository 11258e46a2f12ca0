"""A trained model that takes raw inputs: its networks, what prepares their inputs, and what reads their outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tenfold.core.errors import InputError, RunError
from tenfold.core.specs import InputSpec
from tenfold.data import (
    DataPart,
    ImageFileInputs,
    Preprocessor,
    RawInputs,
    Skipped,
    TableInputs,
    TablePreprocessor,
    TargetEncoder,
    preprocessor_from_json,
    read_inputs,
)
from tenfold.data.files import exists, missing
from tenfold.networks import build_network
from tenfold.study.ensemble import Ensemble, prepared_once
from tenfold.study.options import Network, network_name
from tenfold.study.outputs import answers_of, middle, read_outputs, tempered

SCHEMA = 1
_TIE_BREAK = 1e-6  # of the mean probability in the shares of votes: it turns no majority


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """One network of a model.

    Attributes:
        network: its name in the zoo, or its function's own name.
        config: the arguments it was built with.
        module: the network itself, a plain module in evaluation mode.
        in_zoo: whether the name is enough to build it again.
        preprocessor: its own, where the networks of a model were trained on different rows; None for the model's.
        encoder: likewise.
        weight: how much it counts in the mean, > 0; only its share of the sum matters.
    """

    network: str
    config: dict[str, Any]
    module: nn.Module
    in_zoo: bool
    preprocessor: Preprocessor | None = None
    encoder: TargetEncoder | None = None
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Model:
    """Predicts on raw inputs, as trained; several networks average their probabilities (or values), or vote.

    Attributes:
        parts: the networks.
        preprocessor: from raw inputs to tensors.
        encoder: from outputs to labels or values.
        notes: what it is: the run, the metric, the score.
        temperature: by which logits are divided for calibrated probabilities; None where none could be fitted.
        votes: whether each network of a classification has one vote, in place of averaging.
    """

    parts: tuple[ModelPart, ...]
    preprocessor: Preprocessor
    encoder: TargetEncoder
    notes: dict[str, Any]
    temperature: float | None = None
    votes: bool = False

    @property
    def module(self) -> nn.Module:
        """The network, a plain module (the first one, where there are several)."""
        return self.parts[0].module

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The classes of a classification or segmentation, None for other tasks."""
        return self.encoder.classes

    def read(self, x: Any, *, header: bool | None = None, encoding: str | None = None) -> RawInputs:
        """Raw inputs in the form the preprocessor takes: a path, a DataFrame, arrays, a Dataset.

        Args:
            x: as for `predict`; what was read already stays as it is.
            header: whether a table's first row holds names; by default what it looks like.
            encoding: of a table's text, as Python names it; by default what it looks like.
        """
        if isinstance(x, RawInputs):
            return x
        return read_inputs(x, self.preprocessor, header=header, encoding=encoding)

    def remarks(self, raw: RawInputs) -> tuple[str, ...]:
        """What to know before predictions are believed: how inputs were read, and what training never saw.

        Args:
            raw: what `read` gave.
        """
        own, inputs = self.preprocessor, raw.inputs
        if isinstance(own, TablePreprocessor) and isinstance(inputs, TableInputs):
            return (*raw.notes, *own.strangers(inputs))
        return raw.notes

    def predict(self, x: Any) -> np.ndarray:
        """A label (or a value in the target's own units) for each sample, shape (N,).

        Of a segmentation a mask for each picture, uint8, shape (N, H, W), in the size that its network sees; see
        `predict_masks` for the pictures' own.

        Args:
            x: a path, a DataFrame, an array, a Dataset or DataLoader; targets in it are not used.

        Raises:
            InputError: the inputs cannot be read or do not fit the model.
        """
        return self.decode(self.outputs(self.read(x)))

    def predict_proba(self, x: Any, *, calibrated: bool = False) -> np.ndarray:
        """A probability for each sample and class or label, float64, shape (N, K), in the order of the encoder.

        Args:
            x: as for `predict`.
            calibrated: divide the logits by the temperature that was fitted on validation rows.

        Raises:
            TypeError: the model is a regression or a segmentation.
            InputError: there is no temperature.
        """
        if self.encoder.codes is not None:
            raise TypeError("predict_proba: the model gives masks, no probabilities. Call predict.")
        if not self._named:
            raise TypeError("predict_proba: the model is a regression and has no classes. Call predict.")
        if calibrated:
            self._check_temperature()
        outputs = self.outputs(self.read(x))
        return tempered(outputs, self.temperature) if calibrated and self.temperature else outputs

    @property
    def _named(self) -> tuple[Any, ...]:
        """The names of what has a probability."""
        return self.encoder.classes or self.encoder.labels or ()

    def _check_temperature(self) -> None:
        if self.temperature is None:
            raise InputError(
                "--calibrated: the model has no temperature, which needs a classification and validation rows that "
                "it was neither trained on nor wholly right on. Leave it out, or choose --final best."
            )

    def predict_table(
        self, x: Any, *, header: bool | None = None, calibrated: bool = False
    ) -> tuple[pd.DataFrame, tuple[Skipped, ...]]:
        """Predictions as a table, and the files that could not be read.

        Args:
            x: as for `predict`.
            header: whether a table's first row holds names; by default what it looks like.
            calibrated: as for `predict_proba`.

        Returns:
            One row a sample: "prediction"; "probability_<name>" for each class or label; "quantile_<level>" for each
            quantile; and for
            picture files "file", since some may have been skipped. A model of several networks adds "spread": the
            standard deviation of what they say (of the predicted class's probability, of the value, or the largest of
            the labels' probabilities).

        Raises:
            InputError: the inputs cannot be read, there is no temperature, or the model gives masks.
        """
        if self.encoder.codes is not None:
            raise InputError("predict_table: the model gives masks, which are no table. Call predict_masks.")
        if calibrated:
            self._check_temperature()
        raw = self.read(x, header=header)
        each = self.outputs_of_each(raw.inputs)
        outputs = self._together(each).numpy()
        columns: dict[str, Any] = {"prediction": self.decode(outputs)}
        shown = tempered(outputs, self.temperature) if calibrated and self.temperature else outputs
        columns |= {f"probability_{name}": shown[:, place] for place, name in enumerate(self._named)}
        values = self.encoder.decode(outputs) if self.encoder.quantiles else outputs
        columns |= {f"quantile_{level}": values[:, place] for place, level in enumerate(self.encoder.quantiles)}
        if len(self.parts) > 1:
            columns["spread"] = self._spread(each, outputs)
        if isinstance(raw.inputs, ImageFileInputs):
            columns["file"] = raw.labels
        return pd.DataFrame(columns), raw.skipped

    def predict_masks(self, x: Any) -> tuple[list[tuple[str, np.ndarray]], tuple[Skipped, ...]]:
        """A mask for each picture, in the picture's own size, and the files that could not be read.

        Args:
            x: as for `predict`.

        Returns:
            Pairs of the picture's path below `x` (or its number) and its mask, uint8 of shape (H, W) with the values
            of the masks trained on; each pixel has the value of the nearest that the network saw.

        Raises:
            TypeError: the model is no segmentation.
            InputError: the inputs cannot be read.
        """
        if self.encoder.codes is None:
            raise TypeError("predict_masks: the model gives no masks. Call predict.")
        raw = self.read(x)
        masks = self.decode(self.outputs(raw))
        if raw.sizes:
            sized = [_nearest(mask, *size) for mask, size in zip(masks, raw.sizes, strict=True)]
        else:
            sized = list(masks)
        return list(zip(raw.labels, sized, strict=True)), raw.skipped

    def outputs(self, raw: RawInputs) -> np.ndarray:
        """Probabilities, shape (N, K) or (N, L), or standardised values, shape (N,) or (N, Q); float64.

        Of a segmentation maps of places of classes, uint8, shape (N, H, W): the likeliest by the mean probabilities.
        Of a model that votes, the shares of the votes, with a millionth of the mean probability: that breaks ties.
        """
        return self.outputs_on(raw.inputs).numpy()

    def outputs_on(self, inputs: Any) -> Tensor:
        """As `outputs`, of raw inputs as a source or `read` has them; on the CPU."""
        if self.encoder.codes is not None:
            return self._maps(prepared_once(self._preprocessors, lambda own: own.transform(inputs)))
        return self._together(self.outputs_of_each(inputs))

    def outputs_of_each(self, inputs: Any) -> Tensor:
        """As `outputs`, of each network, with an axis of P networks in front.

        Args:
            inputs: raw inputs, as a source or `read` has them.
        """
        return self._each(prepared_once(self._preprocessors, lambda own: own.transform(inputs)))

    def outputs_of(self, part: DataPart) -> Tensor:
        """As `outputs`, of a part that the model's own preprocessor has transformed; float64 on the CPU."""
        return self._together(self.outputs_of_each_on(part))

    def outputs_of_each_on(self, part: DataPart) -> Tensor:
        """As `outputs_of_each`, of a part that the preprocessor of all networks has transformed."""
        return self._each([part.inputs] * len(self.parts))

    def alone(self, place: int) -> Model:
        """A model of one of the networks, without a temperature."""
        part = self.parts[place]
        return replace(
            self,
            parts=(replace(part, preprocessor=None, encoder=None, weight=1.0),),
            preprocessor=part.preprocessor or self.preprocessor,
            encoder=part.encoder or self.encoder,
            temperature=None,
            votes=False,
        )

    def _maps(self, inputs: list[tuple[Tensor, ...]]) -> Tensor:
        weights = [part.weight for part in self.parts]
        return torch.cat(
            [
                _weighted_mean(torch.stack([raw.softmax(dim=1) for raw in said]), weights)
                .argmax(dim=1)
                .to(torch.uint8)
                for said in self._ensemble.by_batch(inputs)
            ]
        )

    def _together(self, each: Tensor) -> Tensor:
        """What the networks say together, from what each says: with the axis of P networks in front."""
        mean = _weighted_mean(each, [part.weight for part in self.parts])
        if not self.votes:
            return mean
        votes = one_hot(each.argmax(dim=-1), each.shape[-1]).to(each)
        shares = _weighted_mean(votes, [part.weight for part in self.parts])
        return shares.lerp(mean, _TIE_BREAK)

    @property
    def _preprocessors(self) -> list[Preprocessor]:
        return [part.preprocessor or self.preprocessor for part in self.parts]

    @cached_property
    def _ensemble(self) -> Ensemble:
        return Ensemble([part.module for part in self.parts], self._preprocessors)

    def _each(self, inputs: list[tuple[Tensor, ...]]) -> Tensor:
        outputs = self._ensemble.outputs(inputs)
        said = [read_outputs(self.encoder, raw) for raw in outputs]
        if self._named:
            return torch.stack(said)
        return torch.stack([self._in_model_units(part, own) for part, own in zip(self.parts, said, strict=True)])

    def _in_model_units(self, part: ModelPart, values: Tensor) -> Tensor:
        """A regression's values, standardised as the model's encoder does."""
        if part.encoder is None:
            return values
        own, whole = part.encoder, self.encoder
        return (values * own.std + own.mean - whole.mean) / whole.std

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Labels or values of what `outputs` gave, shape (N,)."""
        return answers_of(self.encoder, outputs)

    def _spread(self, each: Tensor, outputs: np.ndarray) -> np.ndarray:
        """How much the networks disagree: see `predict_table`."""
        if self.encoder.labels is not None:
            return each.std(dim=0).amax(dim=1).numpy()
        if self.classes is None:
            return middle(self.encoder, each.std(dim=0).numpy()) * self.encoder.std
        chosen = torch.from_numpy(outputs.argmax(axis=1))[None, :, None].expand(len(each), -1, 1)
        return each.gather(2, chosen)[:, :, 0].std(dim=0).numpy()

    def save(self, folder: Path) -> None:
        """Writes weights as safetensors and everything else as `model.json`; no code is stored."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for number, part in enumerate(self.parts):
            file = f"weights-{number}.safetensors"
            save_model(part.module, str(folder / file))
            entry = {"network": part.network, "config": part.config, "in_zoo": part.in_zoo, "weights": file}
            entry["weight"] = part.weight
            if part.preprocessor is not None:
                entry["preprocessing"] = part.preprocessor.to_json()
            if part.encoder is not None:
                entry["target"] = part.encoder.to_json()
            entries.append(entry)
        record = {
            "schema": SCHEMA,
            "networks": entries,
            "input": self.preprocessor.spec.to_json(),
            "preprocessing": self.preprocessor.to_json(),
            "target": self.encoder.to_json(),
            "notes": self.notes,
            "temperature": self.temperature,
            "votes": self.votes,
        }
        (folder / "model.json").write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")


def load(path: str | Path, *, network: Network | Sequence[Network] | None = None) -> Model:
    """The final model of a run, ready to predict on raw inputs.

    Args:
        path: a run folder, or its `best/`.
        network: the user's own `make_model` functions or classes, where the run used some; those of the zoo are
            found by name, and no code of the folder is run.

    Raises:
        RunError: there is no finished model, it is damaged, or a network of the user's own was not given.

    Example:
        >>> load("no-such-run")
        Traceback (most recent call last):
            ...
        tenfold.core.errors.RunError: no-such-run: no such file or folder...
    """
    folder = Path(path)
    folder = folder if (folder / "model.json").is_file() else folder / "best"
    if not (folder / "model.json").is_file():
        if not exists(Path(path)):
            raise RunError(str(missing(Path(path))))
        raise RunError(
            f"{path}: there is no finished model (best/model.json is missing). "
            "Finish the run with --resume, or name another folder."
        )
    record = _read_record(folder / "model.json")
    if record.get("schema") != SCHEMA:
        raise RunError(f"{folder}: has schema {record.get('schema')!r}, this version reads {SCHEMA}. Train it anew.")
    own = [network] if callable(network) else [item for item in (network or []) if callable(item)]
    encoder = TargetEncoder.from_json(record["target"])
    spec = InputSpec.from_json(record["input"])
    parts = [
        _load_part(entry, folder, spec, encoder.num_outputs, {network_name(item): item for item in own})
        for entry in record["networks"]
    ]
    return Model(
        parts=tuple(parts),
        preprocessor=preprocessor_from_json(record["preprocessing"]),
        encoder=encoder,
        notes=record["notes"],
        temperature=record.get("temperature"),
        votes=record.get("votes", False),
    )


def _nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask in another size, each pixel that of the nearest one."""
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _weighted_mean(each: Tensor, weights: Sequence[float]) -> Tensor:
    """Over the first axis; the plain mean where all weights are equal."""
    if len(set(weights)) == 1:
        return each.mean(dim=0)
    weight_P = torch.tensor(weights, dtype=each.dtype)
    return torch.tensordot(weight_P / weight_P.sum(), each, dims=1)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Restore it, or train anew.") from error


def _load_part(
    entry: dict[str, Any], folder: Path, spec: InputSpec, num_outputs: int, own: dict[str, Any]
) -> ModelPart:
    name, config = entry["network"], entry["config"]
    if not entry["in_zoo"] and name not in own:
        raise RunError(
            f"{folder}: its network {name!r} is your own and not stored with the run. "
            f"Pass it: tenfold.load(path, network={name})."
        )
    build: Callable[..., nn.Module] | None = None if entry["in_zoo"] else own[name]
    settings = {key: value for key, value in config.items() if key != "weights"}  # the run's own are loaded below
    module = build(**config) if build is not None else build_network(name, spec, num_outputs, **settings)
    path = folder / entry["weights"]
    try:
        load_model(module, str(path))
    except (OSError, RuntimeError, SafetensorError) as error:  # missing, of another network, or torn
        reason = " ".join(str(error).split())
        raise RunError(f"{path}: does not fit the network {name!r} ({reason}). Restore it, or train anew.") from error
    return ModelPart(
        network=name,
        config=config,
        module=module.eval(),
        in_zoo=entry["in_zoo"],
        preprocessor=preprocessor_from_json(entry["preprocessing"]) if "preprocessing" in entry else None,
        encoder=TargetEncoder.from_json(entry["target"]) if "target" in entry else None,
        weight=entry.get("weight", 1.0),
    )
