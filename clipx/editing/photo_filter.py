"""A photo filter of ten parameters, each a differentiable function that is the identity at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipx.space import JointSpace

PARAMETERS = (
    *("exposure", "temperature", "tint", "vignette"),  # gains of linear light
    *("contrast", "shadows", "highlights"),  # the tone curve of sRGB values
    *("hue", "saturation", "grain"),
)
STOPS = {"exposure": 1.5, "temperature": 0.5, "tint": 0.35, "vignette": 2.0}  # a stop is a factor of 2
WARM = (1.0, 0.0, -1.0)  # red, green, blue
MAGENTA = (0.5, -1.0, 0.5)
LIFT = 0.12  # of black, at shadows of 1
TURN = 0.5  # radians at a hue of 1
GRAIN = 0.1
ROWS_AT_ONCE = 512
GRAINS = 640  # of the longer side of a photo: grain is as coarse in a large one
LUMA = (0.299, 0.587, 0.114)  # BT.601


class PhotoFilter:
    """A generator of ``clipx.optimise``: a latent of ten numbers -> the photo, filtered.

    A parameter is ``strength * tanh(latent)``, so that no latent leaves the range of a photo editor's slider. A latent
    of zeros gives the photo's own values, bit for bit. Exposure, temperature, tint and vignette multiply linear light
    and go through a shoulder x g / (1 + x (g - 1)) where they brighten, so that nothing is clipped; the others change
    sRGB values. A positive saturation is bounded by what each colour has left to the border of RGB.

    Args:
        photo: (3, H, W) float sRGB in [0, 1].
        strength: in (0, 1]: how far the sliders go.
        seed: of the grain.

    Raises:
        InputError: another shape or dtype, values beyond [0, 1], or a strength beyond (0, 1].
    """

    names = PARAMETERS

    def __init__(self, photo: Tensor, strength: float = 1.0, seed: int = 0):
        if not isinstance(photo, Tensor) or photo.ndim != 3 or len(photo) != 3 or not photo.numel():
            raise InputError("a photo must be a (3, H, W) tensor", where="PhotoFilter")
        if not photo.is_floating_point() or not (photo.min() >= 0 and photo.max() <= 1):  # a NaN fails both
            raise InputError("a photo must be float in [0, 1]", where="PhotoFilter", remedy="divide by 255")
        if not 0 < strength <= 1:
            raise InputError(f"strength must be in (0, 1], got {strength:g}", where="PhotoFilter")
        self.photo, self.strength, self.seed = photo, strength, seed
        height, width = photo.shape[1:]
        self._radius = corner_distance(height, width, photo)
        self._noise = _noise(height, width, seed, photo)

    def latent(self) -> Tensor:
        """Ten zeros: the photo itself."""
        return self.photo.new_zeros(len(PARAMETERS))

    def render(self, latent: Tensor) -> Tensor:
        """(10,) -> (1, 3, H, W) in [0, 1]."""
        if tuple(latent.shape) != (len(PARAMETERS),):
            raise InputError(f"a latent has {len(PARAMETERS)} numbers, got {tuple(latent.shape)}", where="PhotoFilter")
        values = self.strength * torch.tanh(latent.to(self.photo))
        by = dict(zip(PARAMETERS, values, strict=True))
        bands = [slice(top, top + ROWS_AT_ONCE) for top in range(0, self.photo.shape[1], ROWS_AT_ONCE)]
        made = [filtered(self.photo[:, rows], by, self._radius[rows], self._noise[rows]) for rows in bands]
        return torch.cat(made, 1)[None]

    def settings(self, latent: Tensor) -> dict[str, float]:
        """Parameter -> its value in [-strength, strength]."""
        values = self.strength * torch.tanh(latent.detach().double())
        return dict(zip(PARAMETERS, values.tolist(), strict=True))

    def fitted(self, space: JointSpace) -> PhotoFilter:
        """The same filter for a copy of the photo as large as the space fits it, on its device; none is enlarged."""
        given = self.photo.shape[1:]
        size = space.preprocess.fitted(*given)
        height, width = (min(own, wanted) for own, wanted in zip(given, size, strict=True))
        return self.of(space.preprocess.sample(self.photo[None], (height, width))[0].clamp(0, 1).to(space.device))

    def of(self, photo: Tensor) -> PhotoFilter:
        """The same filter for another size of the photo."""
        return PhotoFilter(photo, self.strength, self.seed)


def filtered(photo: Tensor, by: Mapping[str, Tensor], radius: Tensor, noise: Tensor) -> Tensor:
    """(..., 3, H, W) photos by the values of all parameters, each a scalar or (..., 1, 1, 1); no value depends on
    another pixel, so that a large photo is filtered in bands.

    Args:
        radius: (H, W) squared distance from the centre, 1 in the corners.
        noise: (H, W) grain.
    """
    linear = to_linear(photo)
    lit = to_srgb(gained(linear, _gain(by, radius))) - to_srgb(linear)  # exactly 0 at a gain of 1
    pixels = toned((photo + lit).clamp(0, 1), by["contrast"], by["shadows"], by["highlights"]).clamp(0, 1)
    pixels = saturated(turned(pixels, by["hue"]).clamp(0, 1), by["saturation"])
    return (pixels + GRAIN * by["grain"] * 4 * pixels * (1 - pixels) * noise).clamp(0, 1)


def _gain(by: Mapping[str, Tensor], radius: Tensor) -> Tensor:
    """(3, H, W) factors of linear light."""
    stops = {name: most * by[name] for name, most in STOPS.items()}
    colour = stops["temperature"] * _column(WARM, radius) + stops["tint"] * _column(MAGENTA, radius)
    return torch.exp2(stops["exposure"] + colour - stops["vignette"] * radius)


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB values -> linear light (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Linear light -> sRGB values; the inverse of ``to_linear``."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def gained(linear: Tensor, gain: Tensor) -> Tensor:
    """Linear light times a gain; a gain above 1 bends x g / (1 + x (g - 1)), so that 1 stays 1."""
    return linear * gain / (1 + linear * (gain - 1).clamp(min=0))


def toned(pixels: Tensor, contrast: Tensor, shadows: Tensor, highlights: Tensor) -> Tensor:
    """An S curve about the middle, and a bow of its dark and of its bright end."""
    dark, bright = 1 - pixels, pixels
    pixels = pixels + contrast * dark * bright * (2 * bright - 1)
    dark, bright = 1 - pixels, pixels
    return pixels + shadows * dark**3 * (bright + LIFT) + highlights * bright**3 * dark


def turned(pixels: Tensor, hue: Tensor) -> Tensor:
    """Colours turned about grey by ``TURN * hue`` radians; their luma stays."""
    red, _, blue = (pixels - _luma(pixels)).unbind(-3)
    angle = TURN * (hue if hue.ndim == 0 else hue[..., 0])
    u, v = 0.493 * blue, 0.877 * red  # of YUV
    cos, sin = torch.cos(angle) - 1, torch.sin(angle)
    du, dv = cos * u - sin * v, sin * u + cos * v
    dr, db = dv / 0.877, du / 0.493
    dg = -(LUMA[0] * dr + LUMA[2] * db) / LUMA[1]
    return pixels + torch.stack([dr, dg, db], -3)


def saturated(pixels: Tensor, saturation: Tensor) -> Tensor:
    """Chroma times 1 + s: grey at -1. Above 0 times 1 + s (1 - e), where e in [0, 1] says how near the border of RGB
    a colour is, so that none leaves it."""
    luma = _luma(pixels)
    chroma = pixels - luma
    room = torch.where(chroma > 0, 1 - luma, luma).clamp(min=1e-6)
    nearness = (chroma.abs() / room).amax(-3, keepdim=True).clamp(max=1)
    return pixels + chroma * torch.where(saturation > 0, saturation * (1 - nearness), saturation)


def _luma(pixels: Tensor) -> Tensor:
    return (pixels * _column(LUMA, pixels)).sum(-3, keepdim=True)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return like.new_tensor(values)[:, None, None]


def corner_distance(height: int, width: int, like: Tensor) -> Tensor:
    """(H, W): the squared distance from the centre, 1 in the corners."""
    rows, columns = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in (height, width))
    return (rows[:, None] ** 2 + columns**2) / 2


def _noise(height: int, width: int, seed: int, like: Tensor) -> Tensor:
    """(H, W) in [-2, 2]: grain of ``GRAINS`` grains along the longer side, of standard deviation 1.

    A smaller photo has grains of a pixel, and as much weaker ones as the mean of those that a pixel covers.
    """
    share = max(height, width) / GRAINS
    size = (height, width) if share <= 1 else (max(1, round(height / share)), max(1, round(width / share)))
    grains = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(seed)).clamp(-2, 2) * min(share, 1)
    if size != (height, width):
        grains = F.interpolate(grains, (height, width), mode="bilinear")
    return grains[0, 0].to(like)
