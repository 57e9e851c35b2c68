"""The image modality: pictures, which the joint space's image tower was trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._arrays import is_tensor, to_array
from clipx.domains import PHOTO
from clipx.errors import InputError
from clipx.modality import Modality
from clipx.parts import Parts
from clipx.pictures import SUFFIXES, array_pixels, checked_array, is_picture, on_white, open_picture, upright

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clipx.space import JointSpace

_PICTURES_AT_ONCE = 64


@dataclass(frozen=True)
class ImageConfig:
    """Settings of ``Image``."""

    domain: str = field(
        default="auto",
        metadata={"help": "what pictures are: photo, drawing, render, ...; auto: the space looks, where it can tell"},
    )


class Image(Modality):
    """Pictures, encoded as the space's own image tower prescribes (size, mean, standard deviation).

    A space with several picture domains (``JointSpace.domains``) looks at each picture as a photo first, and again as
    what it turns out to be.

    A sample is a (3, H, W) float32 array, RGB in [0, 1]. Files and 8-bit arrays are resampled by Pillow to the size
    that the space asks for (``Preprocess.fit``), so that their vectors are open_clip's; any other array is resampled
    when it is encoded.
    """

    name = "image"
    suffixes = SUFFIXES
    prompts = "photo"
    array_key = "images"
    objects = "a PIL picture, or RGB as an (H, W, 3) array or a (3, H, W) tensor"
    Config = ImageConfig

    config: ImageConfig

    def __init__(self, space: JointSpace, config: ImageConfig | None = None):
        super().__init__(space, config)
        if self.config.domain not in ("auto", PHOTO) and self.config.domain not in space.domains:
            raise InputError(
                f"the space {space.name} has no picture domain {self.config.domain!r}",
                remedy=f"one of auto, {', '.join(space.domains)}",
            )

    @property
    def domain(self) -> str:  # type: ignore[override]  # a class attribute elsewhere
        return PHOTO if self.config.domain == "auto" else self.config.domain

    def load(self, path: str | PathLike) -> np.ndarray:
        """Read a picture: turned upright by its EXIF tag, transparency laid on white, the first frame of several.

        The content decides the format, not the suffix. Grey of more than 8 bits is scaled to [0, 1], not cut off, see
        ``clipx.pictures.eight_bits``. The whole picture is resampled;
        what the space crops or pads, it crops or pads when the sample is encoded.

        Raises:
            FileError: the file is missing, truncated, of more than 2**27 pixels, or no picture.
            MissingDependencyError: it is a HEIC picture, and pillow-heif is not installed.
        """
        return self._fitted(on_white(open_picture(path, self.space.preprocess.fitted), path))

    def from_array(self, array: Any, **about: Any) -> np.ndarray:
        """An array or a tensor as ``checked_array`` takes it -> a sample: integers in [0, 255], or floats in [0, 1].

        Values are taken as they are: dark on light stays dark on light. Integers are resampled as files are.

        Raises:
            InputError: wrong shape, type or range, or NaN.
        """
        values = checked_array(array)
        if values.dtype.kind == "f":
            return array_pixels(values)
        from PIL import Image as pil

        return self._fitted(pil.fromarray(values).convert("RGB"))

    @classmethod
    def takes(cls, value: Any) -> bool:
        """PIL pictures, arrays of three or four channels, 8-bit grey ones, and tensors with the channels first."""
        if isinstance(value, np.ndarray):
            return (value.ndim == 3 and value.shape[2] in (3, 4)) or (value.ndim == 2 and value.dtype == np.uint8)
        return is_picture(value) or (is_tensor(value) and value.ndim == 3 and value.shape[0] in (3, 4))

    def from_object(self, value: Any) -> np.ndarray:
        """A picture as a program holds it -> a sample.

        Args:
            value: a PIL picture, read as its file would be, but that a large JPEG is decoded whole; or what
                ``from_array`` takes.

        Raises:
            InputError: a picture that cannot be decoded, or an array that is none.
        """
        return self._fitted(on_white(upright(value))) if is_picture(value) else self.from_array(value)

    def _fitted(self, rgb: Picture) -> np.ndarray:
        return array_pixels(np.asarray(self.space.preprocess.fit(rgb)))

    def parts(self, samples: Sequence[np.ndarray]) -> Parts:
        rows = []
        for start in range(0, len(samples), _PICTURES_AT_ONCE):
            some = samples[start : start + _PICTURES_AT_ONCE]
            # resized one by one, so that pictures of different sizes share a batch
            pixels = np.concatenate([self._resized(sample, self.space) for sample in some])
            if self.config.domain != "auto":
                rows.append(self.space.encode_image(pixels))
                continue
            found, domains = self.space.encode_with_domain(pixels)
            for domain in sorted(set(domains) - {PHOTO}):
                view = self.space.domain(domain)
                places = [i for i, other in enumerate(domains) if other == domain]
                found[places] = view.encode_image(np.concatenate([self._resized(some[i], view) for i in places]))
            rows.append(found)
        return Parts.whole(np.concatenate(rows))

    @staticmethod
    def _resized(sample: np.ndarray, space: JointSpace) -> np.ndarray:
        sample = to_array(sample)
        if sample.ndim != 3 or sample.shape[0] != 3 or 0 in sample.shape or sample.dtype.kind != "f":
            raise InputError(f"a picture must be floating (3, H, W), got {sample.shape} {sample.dtype}")
        if not (sample.min() >= 0 and sample.max() <= 1):  # a NaN fails both
            raise InputError("a picture must lie in [0, 1]", remedy="divide 8-bit values by 255")
        pixels = sample[None].astype(np.float32, copy=False)
        fitted = space.preprocess.resize(pixels)
        return fitted if np.may_share_memory(fitted, pixels) else fitted.clip(0, 1)  # bicubic overshoots

    def pictures(self, sample: np.ndarray) -> np.ndarray:
        """The picture itself, (1, 3, H, W)."""
        return to_array(sample).copy()[None]

    @classmethod
    def example(cls) -> np.ndarray:
        """An orange disc on a blue slope, 48 x 64."""
        y, x = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 64), indexing="ij")
        disc = x**2 + y**2 < 0.5
        return np.stack([disc, disc * 0.6, ~disc * (y + 1) / 2]).astype(np.float32)
