"""Another sample rate: windowed-sinc interpolation, as a matrix product for each phase of the output."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

ZEROS = 6  # zero crossings of the sinc on either side, at which its window ends
ROLLOFF = 0.99  # cut-off in units of the lower rate's Nyquist frequency
BLOCK = 64  # input samples a row of the matrix product moves by, at least: narrower products are slower


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """(C, T) float32 at one rate -> (C, ceil(T * to / from)) at another: ``torchaudio.functional.resample``.

    The ratio is rounded to a fraction of terms up to 1,280, which is exact for all common rates (384 to 44.1 kHz
    included) and off by under 0.1 % for odd ones: those would need a filter of gigabytes.
    """
    ratio = Fraction(to_hz, from_hz)
    if max(ratio.numerator, ratio.denominator) > 1280:
        small = min(ratio, 1 / ratio).limit_denominator(1280) or Fraction(1, 1280)
        ratio = small if ratio < 1 else 1 / small
    if ratio == 1:
        return samples
    old, new = ratio.denominator, ratio.numerator
    # A row of the product are the outputs of ``step`` inputs. Rows read what lies before and after their own inputs,
    # so they overlap; parts of them, each shifted by ``step``, do not, and need no copies.
    matrix, width, step = _matrix(old, new)
    channels, count = samples.shape
    rows, parts = -(-count // step), -(-len(matrix) // step)
    padded = np.zeros((channels, rows + parts - 1, step), np.float32)
    padded.reshape(channels, -1)[:, width : width + count] = samples
    found = padded[:, :rows] @ matrix[:step]
    for part in range(1, parts):
        own = matrix[part * step : (part + 1) * step]
        found += padded[:, part : part + rows, : len(own)] @ own
    return found.reshape(channels, -1)[:, : -(-count * new // old)]


def filters(old: int, new: int) -> tuple[np.ndarray, int]:
    """The weights of each output phase, (new, 2 width + old) float32, and how many inputs they reach back, ``width``.

    Output j of every ``new`` is the sum over i of weights[j, i] times input i - width of every ``old``. All steps are
    in float32, as torchaudio takes them for sounds in float32: results are the same but for rounding.
    """
    one = np.float32
    lower = min(old, new) * ROLLOFF
    width = math.ceil(ZEROS * old / lower)
    inputs = np.arange(-width, width + old, dtype=one) / one(old)
    t = (np.arange(0, -new, -1, dtype=one) / one(new))[:, None] + inputs
    t = (t * one(lower)).clip(-ZEROS, ZEROS)
    window = np.cos(t * one(math.pi) / one(ZEROS) / one(2)) ** 2
    t *= one(math.pi)
    sinc = np.divide(np.sin(t), t, out=np.ones_like(t), where=t != 0)
    return sinc * (window * one(lower / old)), width


@lru_cache(maxsize=4)
def _matrix(old: int, new: int) -> tuple[np.ndarray, int, int]:
    """What inputs are multiplied by: ``filters`` of several periods in one matrix, (2 width + step, outputs).

    Returns:
        the matrix, ``width``, and ``step``, a multiple of ``old``.
    """
    weights, width = filters(old, new)
    periods = -(-BLOCK // old)
    matrix = np.zeros((2 * width + periods * old, periods * new), np.float32)
    for k in range(periods):
        matrix[k * old : k * old + weights.shape[1], k * new : (k + 1) * new] = weights.T
    return matrix, width, periods * old
