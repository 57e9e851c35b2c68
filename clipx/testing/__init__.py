"""The contract suite: what every modality promises, built in or third-party, each promise a check of its own.

In a plug-in's own tests:

    import pytest
    from clipx.testing import checks
    from clipx_toy import Toy

    @pytest.mark.parametrize("check", checks(Toy))
    def test_contract(check):
        check(space)  # any JointSpace; a tiny one with random weights will do
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from clipx._arrays import to_array
from clipx.embedding import Embedding
from clipx.errors import ClipxError, ContractError
from clipx.modality import Modality, TakesObjects, pictures_of
from clipx.parts import Parts
from clipx.prompts import get_prompts
from clipx.registry import MODALITIES, registered
from clipx.testing._suite import Check, run_all

if TYPE_CHECKING:
    from clipx.space import JointSpace

TOLERANCE = 1e-5  # how far a vector may move, per component, with the batch and the order it comes in


def check_modality(cls: type[Modality], space: JointSpace, samples: Sequence[Any] | None = None) -> None:
    """Run every check. Raises ContractError with one sentence for each broken promise."""
    run_all(checks(cls, samples), lambda: space)


def checks(cls: type[Modality], samples: Sequence[Any] | None = None) -> list[Check[JointSpace]]:
    """The checks of one modality, in the order in which they help; each takes a space.

    Args:
        cls: the modality's class.
        samples: at least three different samples; by default ``cls.example()`` and noisy copies of it. Give your own
            to cover samples of different sizes, or of a kind that holds no floats or bytes to vary.
    """
    return [Check(promise, lambda space: Subject(cls, space, samples), cls.__name__) for promise in _PROMISES]


class Subject:
    """A modality under examination: its class, a space, and samples."""

    def __init__(self, cls: type[Modality], space: JointSpace, samples: Sequence[Any] | None):
        self.cls, self.space, self._samples = cls, space, samples

    def samples(self) -> list[Any]:
        """Fresh copies of at least three samples."""
        if self._samples is not None:
            return copy.deepcopy(list(self._samples))
        rng = np.random.default_rng(0)
        return [self.cls.example(), *(_vary(self.cls.example(), rng) for _ in range(3))]

    def encode(self, samples: Sequence[Any] | None = None) -> Embedding:
        """Encode with a fresh instance, so that nothing is remembered from the last call."""
        return self.cls(self.space).encode(self.samples() if samples is None else samples)

    def require(self, promise: object, what: str) -> None:
        if not promise:
            raise ContractError(what, where=self.cls.__name__)


# The promises, by name. Those about the class come first: the others lean on them.


def entry_point_bears_its_name(it: Subject) -> None:
    """The class is found under its own name, in the entry-point group ``clipx.modalities``."""
    points = registered(MODALITIES)
    it.require(it.cls.name in points, f"no entry point of the group {MODALITIES} is named {it.cls.name!r}")
    it.require(points[it.cls.name].load() is it.cls, f"the entry point {it.cls.name!r} is another class")


def suffixes_are_lower_case_and_different(it: Subject) -> None:
    """Suffixes decide who reads a file: in lower case, and each suffix once."""
    suffixes = it.cls.suffixes
    it.require(isinstance(suffixes, tuple), "suffixes must be a tuple; of one suffix it needs a comma")
    for suffix in suffixes:
        it.require(suffix.startswith(".") and suffix == suffix.lower(), f"suffix {suffix!r} must be like '.png'")
    it.require(len(set(suffixes)) == len(suffixes), "a suffix is listed twice")


def config_is_frozen_with_defaults_and_help(it: Subject) -> None:
    """The command line makes flags of the Config; results keep it beside them."""
    config = it.cls.Config
    it.require(dataclasses.is_dataclass(config), "Config must be a dataclass")
    it.require(config.__dataclass_params__.frozen, "Config must be frozen")  # type: ignore[attr-defined]
    for field in dataclasses.fields(config):
        default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        it.require(default, f"Config.{field.name} needs a default")
        it.require(field.metadata.get("help"), f"Config.{field.name} needs metadata={{'help': ...}}: flags show it")


def prompts_name_a_known_set(it: Subject) -> None:
    """What is said around a label unless the user says otherwise."""
    get_prompts(it.cls.prompts)


def parts_are_unit_vectors_of_the_space(it: Subject) -> None:
    """At least one part of each sample, (M, D) in all, finite, of unit norm; pooled they are (N, D) of unit norm."""
    samples = it.samples()
    it.require(len(samples) >= 3, "the suite needs at least three samples")
    modality = it.cls(it.space)
    parts = modality.parts(samples)
    it.require(isinstance(parts, Parts), f"parts() gave a {type(parts).__name__}, not clipx.parts.Parts")
    it.require(len(parts) == len(samples), f"parts() gave {len(parts)} samples, not {len(samples)}")
    for name, rows in (("parts", parts.vectors), ("pool", to_array(modality.pool(parts)))):
        it.require(rows.ndim == 2 and rows.shape[1] == it.space.dim, f"{name}() gave {tuple(rows.shape)} vectors")
        it.require(np.isfinite(rows).all(), f"{name}() gave values that are not finite")
        norms = np.linalg.norm(rows, axis=1)
        it.require((np.abs(norms - 1) <= 1e-4).all(), f"{name}() must give vectors of unit norm")
    it.require(len(modality.pool(parts)) == len(samples), "pool() must give one vector a sample")
    it.require(it.encode().vectors.dtype == np.float32, "encode() must give float32")


def parts_do_not_depend_on_the_batch(it: Subject) -> None:
    """Nor do a sample's parts, their number and their places."""
    modality = it.cls(it.space)
    together = modality.parts(it.samples())
    for i, sample in enumerate(it.samples()):
        rows, places = modality.parts([sample])[0]
        own, own_places = together[i]
        it.require(list(places) == list(own_places), f"the parts of sample {i} lie elsewhere in a batch")
        it.require(_close(own, rows), f"a part of sample {i} moves by {_gap(own, rows):.1e} with its batch")


def embedding_names_space_modality_and_ids(it: Subject) -> None:
    """An embedding knows where it came from."""
    samples = it.samples()
    ids = [f"sample {i}" for i in range(len(samples))]
    embedding = it.cls(it.space).encode(samples, ids)
    it.require(embedding.space_id == it.space.id, f"space_id is {embedding.space_id!r}, not the space's own id")
    it.require(embedding.modality == it.cls.name, f"modality is {embedding.modality!r}, not {it.cls.name!r}")
    it.require(list(embedding.ids) == ids, "encode() must keep the ids it is given")


def different_samples_get_different_vectors(it: Subject) -> None:
    """A modality that gives every sample the same vector passes every other check."""
    rows = it.encode().vectors
    distances = np.linalg.norm(rows[:, None] - rows, axis=2) + np.eye(len(rows))
    it.require(
        distances.min() > TOLERANCE, "two different samples have one vector; if they are near-duplicates, give others"
    )


def batch_equals_singles(it: Subject) -> None:
    """A vector does not depend on its neighbours."""
    together = it.encode().vectors
    singles = np.concatenate([it.encode([sample]).vectors for sample in it.samples()])
    it.require(_close(together, singles), f"a sample's vector moves by {_gap(together, singles):.1e} with its batch")


def order_follows_the_input(it: Subject) -> None:
    """Row i is sample i."""
    forward, backward = it.encode().vectors, it.encode(it.samples()[::-1]).vectors[::-1]
    it.require(_close(forward, backward), f"reversed input differs by {_gap(forward, backward):.1e} when reversed back")


def repeated_runs_agree_to_the_bit(it: Subject) -> None:
    """The same input gives the same vector; what is random is seeded."""
    once, again = it.encode().vectors, it.encode().vectors
    it.require(np.array_equal(once, again), f"a second run differs by {_gap(once, again):.1e}; seed what is drawn")


def random_state_is_left_alone(it: Subject) -> None:
    """A seed of its own must not become the seed of its user."""
    torch.rand(1), np.random.rand(), random.random()  # away from a state that seeding could restore
    before = _random_state()
    it.encode()
    it.require(_same(before, _random_state()), "encode() draws from or seeds a global generator; use one of its own")


def input_is_untouched(it: Subject) -> None:
    """Samples are read, never written."""
    samples, kept = it.samples(), it.samples()
    modality = it.cls(it.space)
    modality.encode(samples)
    pictures_of(modality, samples[0])
    it.require(_same(samples, kept), "encode() or pictures() changed the samples")


def global_settings_are_left_alone(it: Subject) -> None:
    """torch's default dtype and gradient mode, and the space's dtype and device."""

    def state() -> tuple[Any, ...]:
        return it.space.dtype, it.space.device, torch.get_default_dtype(), torch.is_grad_enabled()

    before = state()
    it.encode(), it.encode([])
    it.require(before == state(), f"encode() changed dtype, device or gradient mode: {before} became {state()}")


def backbone_is_unchanged(it: Subject) -> None:
    """The space is frozen: weights, buffers, mode."""
    before = _fingerprint(it.space)
    it.encode()
    it.require(_fingerprint(it.space) == before, "encode() changed the backbone: weights, buffers or training mode")


def empty_batch_gives_an_empty_embedding(it: Subject) -> None:
    """Nothing in, nothing out, and no error."""
    embedding = it.encode([])
    it.require(embedding.vectors.shape == (0, it.space.dim), f"no samples gave {tuple(embedding.vectors.shape)}")
    it.require((embedding.space_id, embedding.modality) == (it.space.id, it.cls.name), "and lost its space or modality")


def bad_files_raise_clipx_errors_only(it: Subject) -> None:
    """Missing, a folder, empty, blank, random bytes: one line that names the file, under each suffix."""
    modality = it.cls(it.space)
    rng = np.random.default_rng(0)
    for suffix in it.cls.suffixes:
        with tempfile.TemporaryDirectory() as folder:
            bad = Path(folder, f"bad{suffix}")
            _require_refusal(it, modality, bad, f"a missing {suffix} file")
            bad.mkdir()
            _require_refusal(it, modality, bad, f"a folder named like a {suffix} file")
            bad.rmdir()
            for content, what in [(b"", "an empty"), (b" \n\n", "a blank")]:
                bad.write_bytes(content)
                _require_refusal(it, modality, bad, f"{what} {suffix} file")
            for size in (1, 100, 10_000):
                bad.write_bytes(rng.bytes(size))
                try:  # bytes may be valid by chance in a raw format: then they must encode
                    sample = modality.load(bad)
                except ClipxError:
                    continue
                except Exception as error:
                    it.require(False, f"{size} random bytes in a {suffix} file raised {type(error).__name__}: {error}")
                modality.encode([sample])
            it.require([p.name for p in Path(folder).iterdir()] == [bad.name], "load() left a file behind")


def claims_answers_and_never_raises(it: Subject) -> None:
    """Asked of every file in a folder: whatever lies there under its suffixes, the answer is True or False."""
    rng = np.random.default_rng(0)

    def ask(path: Path, what: str) -> None:
        try:
            answer = it.cls.claims(path)
        except Exception as error:
            it.require(False, f"claims() of {what} raised {type(error).__name__}: {error}")
        it.require(isinstance(answer, bool), f"claims() of {what} gave {answer!r}, not True or False")

    for suffix in it.cls.suffixes:
        with tempfile.TemporaryDirectory() as folder:
            odd = Path(folder, f"odd{suffix}")
            ask(odd, f"a missing {suffix} file")
            for content in (b"", b" \n\n", b"\xff\xfe\x00", b"1" * 100_000, rng.bytes(10_000)):
                odd.write_bytes(content)
                ask(odd, f"{len(content)} odd bytes in a {suffix} file")


def other_objects_are_not_taken(it: Subject) -> None:
    """A modality that takes objects takes no path, and raises nothing but a ClipxError on what it does not take."""
    modality = it.cls(it.space)
    if not isinstance(modality, TakesObjects):
        return
    it.require(isinstance(modality.objects, str) and modality.objects, "objects must say in words what it takes")
    for value in (None, 3, "a.png", Path("a.png"), ["a.png"], b"\0", {}, object(), np.zeros(0), np.zeros((2,) * 5)):
        it.require(modality.takes(value) is False, f"takes() of {value!r:.40} must be False")
        try:
            modality.from_object(value)
        except ClipxError as error:
            it.require("\n" not in str(error), f"the error for {value!r:.40} must be one line")
        except Exception as error:
            it.require(False, f"from_object({value!r:.40}) raised {type(error).__name__}, not a ClipxError: {error}")
        else:
            it.require(False, f"from_object() made a sample of {value!r:.40}")


def pictures_are_in_range(it: Subject) -> None:
    """What a person is shown is (V, 3, H, W) in [0, 1], or None."""
    pictures = pictures_of(it.cls(it.space), it.samples()[0])
    if pictures is not None:
        it.require(
            pictures.ndim == 4 and pictures.shape[1] == 3, f"pictures must be (V, 3, H, W), got {pictures.shape}"
        )
        it.require(pictures.dtype.kind == "f" and len(pictures), "pictures must be at least one, in floats")
        it.require(((pictures >= 0) & (pictures <= 1)).all(), "pictures must lie in [0, 1]")


_PROMISES: tuple[Callable[[Subject], None], ...] = (
    entry_point_bears_its_name,
    suffixes_are_lower_case_and_different,
    config_is_frozen_with_defaults_and_help,
    prompts_name_a_known_set,
    parts_are_unit_vectors_of_the_space,
    parts_do_not_depend_on_the_batch,
    embedding_names_space_modality_and_ids,
    different_samples_get_different_vectors,
    batch_equals_singles,
    order_follows_the_input,
    repeated_runs_agree_to_the_bit,
    random_state_is_left_alone,
    input_is_untouched,
    global_settings_are_left_alone,
    backbone_is_unchanged,
    empty_batch_gives_an_empty_embedding,
    bad_files_raise_clipx_errors_only,
    claims_answers_and_never_raises,
    other_objects_are_not_taken,
    pictures_are_in_range,
)


def _require_refusal(it: Subject, modality: Modality, path: Path, what: str) -> None:
    try:
        modality.load(path)
    except ClipxError as error:
        it.require(path.name in str(error) and "\n" not in str(error), f"the error for {what} must name it in one line")
    except Exception as error:
        it.require(False, f"{what} raised {type(error).__name__}, not a ClipxError: {error}")
    else:
        it.require(False, f"{what} was loaded as if it were good")


def _vary(value: Any, rng: np.random.Generator) -> Any:
    """A copy with every float and byte scaled by a factor of its own in [0.7, 1]; ranges such as [0, 1] still hold."""
    if isinstance(value, Tensor):
        return torch.from_numpy(_vary(value.cpu().numpy(), rng)).to(value.device)
    if isinstance(value, np.ndarray) and (value.dtype == np.uint8 or np.issubdtype(value.dtype, np.floating)):
        return (value * rng.uniform(0.7, 1, value.shape)).astype(value.dtype)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = {f.name: _vary(getattr(value, f.name), rng) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **own)
    if isinstance(value, dict):
        return {key: _vary(item, rng) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*(_vary(item, rng) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_vary(item, rng) for item in value)
    return copy.deepcopy(value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor | np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(np.asarray(a), np.asarray(b))
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and _same(vars(a), vars(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _random_state() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and _gap(a, b) <= TOLERANCE


def _fingerprint(space: JointSpace) -> str:
    digest = hashlib.sha256(repr((space.id, float(space.logit_scale))).encode())
    for module in _modules(space, depth=3):
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            digest.update(f"{name} {tensor.dtype} {tensor.requires_grad}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        digest.update(bytes(part.training for part in module.modules()))
    return digest.hexdigest()


def _modules(holder: Any, depth: int) -> Iterator[nn.Module]:
    """The networks that an object holds, directly or inside its own objects."""
    if isinstance(holder, nn.Module):
        yield holder
    elif depth and hasattr(holder, "__dict__"):
        for value in vars(holder).values():
            yield from _modules(value, depth - 1)
