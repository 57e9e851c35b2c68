"""A device that is none: tensors that claim to lie on "pretend:0", compute on the CPU, and are as strict as a GPU is.

It finds the mistakes that only a GPU shows, on machines without one: tensors of two devices in one step, float64 where
there is none (as on MPS), a step that MPS has not. ``register(monkeypatch)`` in a test, then ``.to("pretend")``.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import return_and_correct_aliasing

NAME = "pretend"
LACKING = ("eigh", "lstsq", "svd", "geqrf", "linalg_qr")  # of torch.linalg, on MPS
aten = torch.ops.aten
moved: Counter[str] = Counter()  # copies "to" the device and "from" it, in elements
called: Counter[str] = Counter()  # steps on the device, by name


class Pretend(torch.Tensor):
    """A tensor elsewhere; ``held`` is what it holds."""

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        if held.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"Cannot convert a {NAME.upper()} Tensor to {held.dtype}: the device has none")
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=f"{NAME}:0"
        )

    def __init__(self, held: torch.Tensor):
        self.held = held

    def __repr__(self):
        return f"Pretend({self.held!r})"

    def data_ptr(self):
        return self.held.data_ptr()

    def tolist(self):
        return self.held.tolist()

    def __getitem__(self, index):  # a list would become a tensor where no device written in Python is reached
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(torch.tensor(part) if isinstance(part, list) else part for part in parts)
        return super().__getitem__(parts)

    def new_tensor(self, data, dtype=None, device=None):
        return torch.tensor(data, dtype=dtype or self.dtype).to(device or self.device)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    name = func._schema.name.removeprefix("aten::")
    flat = pytree.tree_leaves((args, kwargs))
    called[name] += 1
    if any(lacking in name for lacking in LACKING):
        raise NotImplementedError(f"aten::{name} is not there on {NAME}")
    plain = [x for x in flat if isinstance(x, torch.Tensor) and not isinstance(x, Pretend) and x.ndim]
    if plain and name not in ("copy_", "_to_copy", "index", "index_put_", "index_put", "_index_put_impl_"):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {NAME}:0 and cpu")
    device = kwargs.get("device")
    there = device is None or torch.device(device).type == NAME
    if "device" in kwargs:
        kwargs = {**kwargs, "device": "cpu"}
    if (generator := kwargs.get("generator")) is not None and there:
        raise RuntimeError(f"expected a '{NAME}' generator, found {generator.device}")
    kwargs.pop("pin_memory", None)
    if name == "copy_":
        into, source = args[:2]
        moved["to" if isinstance(into, Pretend) and not isinstance(source, Pretend) else "within"] += source.numel()
    if name == "_to_copy" and not there:
        moved["from"] += args[0].numel()
    own = pytree.tree_map_only(Pretend, lambda x: x.held, (args, kwargs))
    out = func(*own[0], **own[1])
    if not there:
        return out
    if name in ("_to_copy",) and out is own[0][0]:
        out = out.clone()
    out = pytree.tree_map_only(torch.Tensor, Pretend, out)
    if name == "copy_" and not isinstance(args[0], Pretend):
        moved["from"] += args[0].numel()
        return args[0]
    return return_and_correct_aliasing(func, args, kwargs, out)


class _Module:
    """What torch asks of a device's module."""

    def is_initialized(self):
        return True

    def is_available(self):
        return True

    def current_device(self):
        return 0

    def device_count(self):
        return 1

    def _is_in_bad_fork(self):
        return False

    def manual_seed_all(self, seed):
        pass

    def get_amp_supported_dtype(self):
        return [torch.float16, torch.bfloat16]

    def get_rng_state(self, device=None):
        return torch.get_rng_state()

    def set_rng_state(self, state, device=None):
        pass


@cache
def announce() -> str:
    """Make the device's name known to torch; before the first backward pass, as autograd counts the devices then."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, _Module())
    with torch.device("cpu"):  # torch notes here, once, what a default device is for: before any is replaced
        torch.empty(0)
    return NAME


def register(monkeypatch) -> str:
    """Make torch compute on the device, as long as the test runs; returns its name."""
    _compute()
    for name in ("tensor", "as_tensor"):  # these alone do not reach a device written in Python
        monkeypatch.setattr(torch, name, _elsewhere(getattr(torch, name)))
    return NAME


@cache
def _compute() -> None:
    announce()
    library = torch.library.Library("_", "IMPL")
    library.fallback(lambda op, *args, **kwargs: _run(op, args, kwargs), "PrivateUse1")
    resizing = torch.library.Library("aten", "IMPL")  # these would enlarge an empty tensor, which ours cannot be
    for op in ("arange", "arange.start", "arange.start_step", "linspace", "eye", "eye.m", "randperm"):
        packet, _, overload = op.partition(".")
        func = getattr(getattr(aten, packet), overload or "default")
        resizing.impl(op, lambda *args, func=func, **kwargs: _run(func, args, kwargs), "PrivateUse1")
    _compute.libraries = library, resizing  # they end with their owner


def _elsewhere(make):
    def made(data, dtype=None, device=None, **more):
        if device is None or torch.device(device).type != NAME:
            return make(data, dtype=dtype, device=device, **more)
        if not isinstance(data, torch.Tensor):
            data = make(data, dtype=dtype, **more)
        return data.to(device, dtype)

    return made
