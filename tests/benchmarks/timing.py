"""What benchmarks share: the time of a call, and the median and spread of several."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def spread(values: Sequence[float]) -> dict[str, float]:
    """``median``, and ``low`` and ``high``, the 10th and 90th percentile, rounded to four digits."""
    ends = zip(("low", "median", "high"), np.percentile(values, [10, 50, 90]), strict=True)
    found = {name: round(float(value), 4) for name, value in ends}
    return {name: found[name] for name in ("median", "low", "high")}
