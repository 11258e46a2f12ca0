"""Pictures to tensors: kept as they are in memory, then scaled to [0, 1], cropped or augmented, and normalised.

uint8 stays uint8 until a batch is prepared: a quarter of the memory. Of pictures that lie in a file, or that the
device has no room for, parts hold the places alone, and a batch is gathered when it is prepared.

Small pictures (64 pixels and less) are not augmented; what helps there depends on what they show (a mirrored digit is
no digit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from tenfold.core.errors import InputError
from tenfold.core.machine import available_memory_bytes
from tenfold.core.specs import InputSpec
from tenfold.data.augmentation import Augmentation, augment, augment_scenes
from tenfold.data.inputs import ArrayInputs, ImageFileInputs, Inputs, PictureFormat
from tenfold.data.pictures import SMALL_PIXELS
from tenfold.data.preprocessor import Preprocessor, Tensors, refuse_inputs
from tenfold.data.scratch import gather, is_in_file, memory_for_data

_CHUNK_BYTES = 1 << 25
DEVICE_SHARE = 0.5  # of a device's free memory that pictures may take


class ImagePreprocessor(Preprocessor):
    """Pictures of one size, normalised a channel.

    Args:
        format: channels, shown and stored size.
        mean: of each channel, of values in [0, 1] (or of the values themselves when `scale` is 1).
        std: of each channel.
        scale: what training pictures were divided by, 255 or 1, so that others can be; uint8 is always divided.
        augment: how training pictures are changed, or None.
        pixels: of `ImageFileInputs`, shape (P, C, H, W), where they stay where they are and `transform` gives places.

    Example:
        >>> inputs = ArrayInputs(np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4))
        >>> preprocessor = ImagePreprocessor.fit(inputs, np.array([0, 1]))
        >>> (x,) = preprocessor.prepare_batch(preprocessor.transform(inputs), train=False)
        >>> tuple(x.shape), abs(x.mean().item()) < 1e-6, round(x.std(correction=0).item(), 4)
        ((2, 1, 4, 4), True, 1.0)
    """

    def __init__(
        self,
        *,
        format: PictureFormat,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        scale: float = 1.0,
        augment: Augmentation | None = None,
        pixels: np.ndarray | None = None,
    ) -> None:
        self._pixels = pixels
        self.format, self.mean, self.std, self.scale, self.augment = format, mean, std, scale, augment
        self.augments = augment is not None
        self.moves_targets = self.augments and format.dense
        self.spec = InputSpec(kind="image", shape=(format.channels, format.height, format.width), dense=format.dense)
        self._mean = torch.tensor(mean, dtype=torch.float32)[:, None, None]
        self._std = torch.tensor(std, dtype=torch.float32)[:, None, None]

    @classmethod
    def fit(cls, inputs: ArrayInputs | ImageFileInputs, rows: np.ndarray, **options: Any) -> ImagePreprocessor:
        """Mean and standard deviation of these rows.

        Args:
            inputs: all pictures.
            rows: the training rows.
            **options: `augment`, an `Augmentation` or None; by default photographs with a margin are augmented, and
                those with masks above 64 pixels. `stay`, whether `transform` gives places, see `stays`: by default
                where they lie in a file.

        Raises:
            TypeError: the inputs are no pictures.
        """
        images, form = _images(inputs)
        mean, std = _moments(images, np.asarray(rows) if isinstance(inputs, ArrayInputs) else inputs.rows[rows])
        scale = inputs.scale if isinstance(inputs, ArrayInputs) else 255.0
        large = form.margin > 1 or (form.dense and max(form.height, form.width) > SMALL_PIXELS)
        augment = options.get("augment", Augmentation() if large else None)
        pixels = images if options.get("stay", stays(inputs, "cpu")) else None
        return cls(format=form, mean=mean, std=std, scale=scale, augment=augment, pixels=pixels)

    def transform(self, inputs: ArrayInputs | ImageFileInputs) -> Tensors:
        """The pictures, uint8 or float32 in [0, 1], of shape (N, C, H, W) as stored; or their places, int64 (N,).

        Raises:
            TypeError: the inputs are no pictures.
            InputError: the pictures have another shape than those of training.
        """
        images, _ = _images(inputs)
        height, width = self.format.stored
        if images.shape[1:] not in ((self.format.channels, height, width), self.spec.shape):
            raise InputError(
                f"pictures: must have shape {self.spec.shape} (channels, height, width) as in training, got "
                f"{images.shape[1:]}. Resize them, or give picture files, which are resized."
            )
        if isinstance(inputs, ImageFileInputs):
            if self._pixels is images:
                return (torch.tensor(inputs.rows, dtype=torch.int64),)
            whole = np.array_equal(inputs.rows, np.arange(len(images)))
            return (_tensor(images if whole else images[inputs.rows]),)
        return (_tensor(images),)

    def fetched(self, tensors: Tensors) -> Tensors:
        """The pictures of a slice, uint8 or float32 of shape (B, C, H, W), on the slice's device."""
        first, *others = tensors
        if self._pixels is None or first.ndim != 1:
            return tensors
        images = torch.from_numpy(gather(self._pixels, first.cpu().numpy()))
        return images.to(first.device), *others

    def prepare_batch(self, tensors: Tensors, train: bool, keys: Sequence[int] | None = None) -> Tensors:
        """Normalised float32 of shape (B, C, H, W): augmented in training, the centre otherwise.

        Raises:
            ValueError: training with augmentation without keys.
        """
        (images,) = self.fetched(tensors)
        height, width = self.spec.shape[1:]
        if not (train and self.augment):
            return (self._normalised(_centre(images, height, width)),)
        if keys is None or len(keys) != len(images):
            raise ValueError(
                "prepare_batch: keys must be given, one for each sample, when training with augmentation."
            )
        return (self._normalised(*self.vary((images,), keys)),)

    def vary(self, tensors: Tensors, keys: Sequence[int]) -> Tensors:
        """The pictures augmented, in the size that a network receives, with their masks; dtypes as stored."""
        tensors = self.fetched(tensors)
        if self.augment is None:
            return tensors
        height, width = self.spec.shape[1:]
        if self.moves_targets:
            images, masks = tensors
            return augment_scenes(images, masks, self.augment, keys, height, width)
        return (augment(tensors[0], self.augment, keys, height, width),)

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        mean, std = self._mean.to(images.device), self._std.to(images.device)
        if images.dtype == torch.uint8:
            return images.float().sub_(mean * 255).div_(std * 255)
        return (images - mean).div_(std)

    def __getstate__(self) -> dict[str, Any]:
        if self._pixels is not None and is_in_file(self._pixels):
            raise TypeError("pictures that lie in a file stay with the process that decoded them")
        return self.__dict__

    def to_json(self) -> dict[str, Any]:
        """This preprocessor as plain JSON types."""
        return {
            "kind": "image",
            "format": asdict(self.format),
            "mean": list(self.mean),
            "std": list(self.std),
            "scale": self.scale,
            "augment": asdict(self.augment) if self.augment else None,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ImagePreprocessor:
        """The preprocessor that `to_json` wrote."""
        return cls(
            format=PictureFormat(**record["format"]),
            mean=tuple(record["mean"]),
            std=tuple(record["std"]),
            scale=record["scale"],
            augment=Augmentation(**record["augment"]) if record["augment"] else None,
        )


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _images(inputs: Any) -> tuple[np.ndarray, PictureFormat]:
    if isinstance(inputs, ImageFileInputs):
        return inputs.pixels, inputs.format
    if not isinstance(inputs, ArrayInputs):
        raise refuse_inputs("ImagePreprocessor", inputs)
    channels, height, width = inputs.images.shape[1:]
    return inputs.images, PictureFormat(channels=channels, height=height, width=width)


def stays(inputs: Inputs, device: Any) -> bool:
    """Whether samples stay where they are: pictures in a file, and those for whose copies there is no room.

    Args:
        inputs: all of a source.
        device: where batches are needed.

    Example:
        >>> stays(ArrayInputs(np.zeros((6, 1, 8, 8), np.uint8)), "cpu")
        False
    """
    if not isinstance(inputs, ImageFileInputs):
        return False
    device = torch.device(device)
    if device.type != "cpu":
        room = min(memory_for_data(), int(DEVICE_SHARE * available_memory_bytes(device)))
    else:
        room = memory_for_data()
    return is_in_file(inputs.pixels) or inputs.pixels.nbytes > room


def _moments(images: np.ndarray, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over these rows, of values in [0, 1] for uint8."""
    count, total, squares = 0, np.zeros(images.shape[1]), np.zeros(images.shape[1])
    levels, histograms = np.arange(256) / 255.0, np.zeros((images.shape[1], 256), np.int64)
    step = max(1, _CHUNK_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(rows), step):
        chunk = gather(images, rows[start : start + step])
        count += chunk[:, 0].size
        for channel in range(images.shape[1]):
            if images.dtype == np.uint8:
                histograms[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
            else:
                values = chunk[:, channel].astype(np.float64)
                total[channel] += values.sum()
                squares[channel] += np.square(values).sum()
    if images.dtype == np.uint8:
        total = np.array([histogram @ levels for histogram in histograms])
        squares = np.array([histogram @ levels**2 for histogram in histograms])
    mean = total / max(count, 1)
    std = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    return tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist())


def _centre(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]
