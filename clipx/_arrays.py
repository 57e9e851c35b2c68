"""NumPy arrays and torch tensors by the same functions, without importing torch where nobody else has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from clipx.errors import InputError

A = TypeVar("A")
"""An array or a tensor; what comes out is what went in."""

_NUMBERS = "biufc"  # kinds of NumPy's dtypes
TINY = 1e-12  # the norm below which a row is left as it is, as torch.nn.functional.normalize has it


def is_tensor(value: Any) -> bool:
    """Whether it is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_array(value: Any) -> np.ndarray:
    """An array or a tensor of any device as a NumPy array of its own dtype, without gradient."""
    if is_tensor(value):
        value = value.detach().cpu()
        return value.float().numpy() if value.element_size() == 2 and value.is_floating_point() else value.numpy()
    return np.asarray(value)


def numbers(value: Any) -> np.ndarray:
    """What a user gives for an array, as ``to_array`` has it.

    Raises:
        InputError: it holds no numbers, or they cannot be read, as those of a sparse tensor.
    """
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    try:
        values = to_array(value)
    except Exception as error:  # of whatever pretends to be an array
        raise InputError(f"the values of a {kind} cannot be read") from error
    if values.dtype.kind not in _NUMBERS:
        raise InputError(f"expected numbers, got a {kind}")
    return values


def is_one_array(value: Any) -> bool:
    """Whether a user means one thing by an array of numbers, not several: one of fewer than four axes.

    ``np.array([])`` is an empty list: nothing.
    """
    of_numbers = is_tensor(value) or (isinstance(value, np.ndarray) and value.dtype.kind in _NUMBERS)
    return of_numbers and value.ndim < 4 and tuple(value.shape) != (0,)


def unit_rows(rows: Any) -> Any:
    """float32 rows (or maps) of unit L2 norm over dimension 1."""
    if is_tensor(rows):
        import torch.nn.functional as F

        return F.normalize(rows.float(), dim=1)
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(TINY))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """``torch.no_grad`` where torch is loaded."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
    else:
        with torch.no_grad():
            yield
