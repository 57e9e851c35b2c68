"""Every registered modality keeps the contract; and a modality that breaks it is caught by the check that says so."""

import importlib.util
import random
import re
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

import clipx.testing
from clipx.errors import ContractError, InputError
from clipx.modality import Modality
from clipx.parts import Parts, View
from clipx.registry import MODALITIES, get_modality, registered
from clipx.spaces.loading import load_space
from clipx.testing import check_modality, checks

EVERY_CHECK = [
    pytest.param(cls, check, id=f"{name}-{check.name}")
    for name in registered(MODALITIES)
    for cls in [get_modality(name)]
    for check in checks(cls)
]


@pytest.fixture(scope="session")
def served_space():
    return load_space("lite", backend="onnx")


@pytest.mark.parametrize("space", ["tiny_space", "served_space"])  # by torch, by onnxruntime
@pytest.mark.parametrize(("cls", "check"), EVERY_CHECK)
def test_contract(cls, check, space, request):
    if cls.missing():
        pytest.skip(cls.missing())
    check(request.getfixturevalue(space))


def test_a_batch_does_not_feel_its_neighbours_sizes(tiny_vit_space):
    rng = torch.Generator().manual_seed(0)
    pictures = [torch.rand(3, h, w, generator=rng) for h, w in [(20, 31), (64, 48), (200, 33)]]
    cloud = get_modality("pointcloud").example()
    clouds = [replace(cloud, points=torch.randn(n, 3, generator=rng)) for n in (2, 700, 3000)]
    for name, samples in [("image", pictures), ("pointcloud", clouds)]:
        for check in checks(get_modality(name), samples):
            if check.name in ("batch_equals_singles", "order_follows_the_input"):
                check(tiny_vit_space)


# A toy that keeps the contract, and one that breaks each promise in turn ----------------------------------------------


def _toy():
    spec = importlib.util.spec_from_file_location(
        "clipx_toy_in_tests", Path(__file__).parent / "toy_modality/clipx_toy.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Colour


Colour = _toy()
BREAKS: list[tuple[type[Modality], str]] = []


def breaks(promise):
    """Marks a toy that breaks one promise."""
    return lambda cls: BREAKS.append((cls, promise)) or cls


@breaks("entry_point_bears_its_name")
class OtherName(Colour):
    name = "color"


@breaks("suffixes_are_lower_case_and_different")
class UpperSuffix(Colour):
    suffixes = (".HEX",)


@breaks("suffixes_are_lower_case_and_different")
class SuffixTwice(Colour):
    suffixes = (".hex", ".hex")


@breaks("suffixes_are_lower_case_and_different")
class SuffixIsAString(Colour):
    suffixes = ".hex"


@breaks("config_is_frozen_with_defaults_and_help")
class ThawedConfig(Colour):
    @dataclass
    class Config:
        size: int = field(default=1, metadata={"help": "size"})


@breaks("config_is_frozen_with_defaults_and_help")
class HelplessConfig(Colour):
    @dataclass(frozen=True)
    class Config:
        size: int = 1


@breaks("prompts_name_a_known_set")
class UnknownPrompts(Colour):
    prompts = "smell"


@breaks("parts_are_unit_vectors_of_the_space")
class NotUnit(Colour):
    def parts(self, samples):
        return Parts.whole(super().parts(samples).vectors * 2)


@breaks("parts_are_unit_vectors_of_the_space")
class HalfTheRows(Colour):
    def parts(self, samples):
        return Parts.whole(super().parts(samples).vectors[::2])


@breaks("parts_are_unit_vectors_of_the_space")
class NoParts(Colour):
    def parts(self, samples):
        return super().parts(samples).vectors


@breaks("parts_are_unit_vectors_of_the_space")
class PoolsToZero(Colour):
    def pool(self, parts):
        return 0 * parts.vectors


@breaks("parts_do_not_depend_on_the_batch")
class PlacesAcrossTheBatch(Colour):
    def parts(self, samples):
        return replace(super().parts(samples), places=[View(i) for i in range(len(samples))])


@breaks("embedding_names_space_modality_and_ids")
class ForgetsIds(Colour):
    def encode(self, samples, ids=()):
        return super().encode(samples)


@breaks("different_samples_get_different_vectors")
class ColourBlind(Colour):
    def parts(self, samples):
        return super().parts([torch.ones(3) for _ in samples])


@breaks("batch_equals_singles")
class BatchMean(Colour):
    def parts(self, samples):
        mean = torch.stack(list(samples)).mean(dim=0)
        return super().parts([sample - mean * 0.1 + 0.1 for sample in samples])


@breaks("order_follows_the_input")
class Sorts(Colour):
    def parts(self, samples):
        return super().parts(sorted(samples, key=lambda sample: float(sample.sum())))


@breaks("repeated_runs_agree_to_the_bit")
class Jitters(Colour):
    rng = np.random.default_rng(0)

    def parts(self, samples):
        return super().parts([sample * (1 - 1e-6 * self.rng.random()) for sample in samples])


@breaks("random_state_is_left_alone")
class SeedsTheWorld(Colour):
    def parts(self, samples):
        torch.manual_seed(7)
        return super().parts(samples)


@breaks("random_state_is_left_alone")
class DrawsFromTheWorld(Colour):
    def parts(self, samples):
        random.random()
        return super().parts(samples)


@breaks("input_is_untouched")
class WritesIntoSamples(Colour):
    def parts(self, samples):
        for sample in samples:
            sample.mul_(0.5)
        return super().parts(samples)


@breaks("global_settings_are_left_alone")
class CarriesGradients(Colour):
    def encode(self, samples, ids=()):
        return clipx.Embedding(
            self.vectors([s.clone().requires_grad_() for s in samples]), self.space.id, self.name, ids
        )


@breaks("backbone_is_unchanged")
class TouchesWeights(Colour):
    def parts(self, samples):
        with torch.no_grad():
            next(self.space.backbone.model.parameters()).mul_(1.0000002)
        return super().parts(samples)


@breaks("backbone_is_unchanged")
class ThawsWeights(Colour):
    def parts(self, samples):
        parameter = next(self.space.backbone.model.parameters())
        parameter.requires_grad_(not parameter.requires_grad)
        return super().parts(samples)


@breaks("empty_batch_gives_an_empty_embedding")
class NoEmptyBatch(Colour):
    def encode(self, samples, ids=()):
        if not samples:
            raise InputError("nothing to encode")
        return super().encode(samples, ids)


@breaks("bad_files_raise_clipx_errors_only")
class LetsBuiltinsThrough(Colour):
    def load(self, path):
        return Path(path).read_bytes() and torch.ones(3)


@breaks("bad_files_raise_clipx_errors_only")
class ReadsAnything(Colour):
    def load(self, path):
        return torch.ones(3)


@breaks("bad_files_raise_clipx_errors_only")
class NamelessError(Colour):
    def load(self, path):
        raise InputError("cannot be read")


@breaks("claims_answers_and_never_raises")
class OpensWhatItClaims(Colour):
    @classmethod
    def claims(cls, path):
        return Path(path).read_bytes()[:1] == b"#"


@breaks("claims_answers_and_never_raises")
class ClaimsWithoutAWord(Colour):
    @classmethod
    def claims(cls, path):
        return None


class Objects(Colour):
    objects = "colours as strings"

    @classmethod
    def takes(cls, value):
        return isinstance(value, str) and value.startswith("#")

    def from_object(self, value):
        if not self.takes(value):
            raise InputError("no colour")
        return torch.ones(3)


@breaks("other_objects_are_not_taken")
class TakesPaths(Objects):
    @classmethod
    def takes(cls, value):
        return isinstance(value, str)


@breaks("other_objects_are_not_taken")
class MakesSamplesOfAnything(Objects):
    def from_object(self, value):
        return torch.ones(3)


@breaks("other_objects_are_not_taken")
class StumblesOverObjects(Objects):
    def from_object(self, value):
        return torch.tensor([float(part) for part in value])


@breaks("pictures_are_in_range")
class EightBitPictures(Colour):
    def pictures(self, sample):
        return super().pictures(sample) * 255

    def parts(self, samples):
        return Colour(self.space).parts(samples)


@breaks("pictures_are_in_range")
class OnePicture(Colour):
    def pictures(self, sample):
        return super().pictures(sample)[0]

    def parts(self, samples):
        return Colour(self.space).parts(samples)


@pytest.fixture
def as_if_registered(monkeypatch):
    """Whatever class is under examination is what the entry point ``colour`` loads."""

    def register(cls):
        module = sys.modules[__name__]
        monkeypatch.setattr(module, "examined", cls, raising=False)
        point = EntryPoint("colour", f"{__name__}:examined", MODALITIES)
        monkeypatch.setattr(clipx.testing, "registered", lambda group: {"colour": point})

    return register


@pytest.fixture
def own_space():
    """A space that a test may spoil."""
    from conftest import PREPROCESS, RESNET

    from clipx.space import random_space

    return random_space(RESNET, preprocess_cfg=PREPROCESS, seed=0)


def test_the_toy_keeps_the_contract(as_if_registered, tiny_space):
    for cls in (Colour, Objects):
        as_if_registered(cls)
        check_modality(cls, tiny_space)


def test_the_documented_example_runs(as_if_registered, tiny_space):
    as_if_registered(Colour)
    page = (Path(__file__).parents[1] / "docs/add-a-modality.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(import pytest\n.*?)```", page, re.DOTALL)
    scope = {"MyModality": Colour}
    exec(example, scope)
    (mark,) = scope["test_contract"].pytestmark
    name, own_checks = mark.args
    assert len(own_checks) == len(checks(Colour))
    scope["test_contract"](**{name: own_checks[0]}, space=tiny_space)


@pytest.mark.parametrize(("cls", "promise"), BREAKS, ids=[cls.__name__ for cls, _ in BREAKS])
def test_a_broken_promise_is_caught(cls, promise, as_if_registered, own_space):
    as_if_registered(cls)
    (check,) = [check for check in checks(cls) if check.name == promise]
    with pytest.raises(ContractError, match=cls.__name__):
        check(own_space)


def test_every_promise_can_be_broken():
    assert {promise for _, promise in BREAKS} == {check.name for check in checks(Colour)}


def test_all_that_is_broken_is_named(as_if_registered, own_space):
    class Careless(UnknownPrompts, NamelessError, TouchesWeights):
        """Three promises broken."""

    as_if_registered(Careless)
    with pytest.raises(ContractError) as caught:
        check_modality(Careless, own_space)
    broken = [name for name in (check.name for check in checks(Careless)) if f"{name}: " in str(caught.value)]
    assert {"prompts_name_a_known_set", "backbone_is_unchanged", "bad_files_raise_clipx_errors_only"} <= set(broken)
    assert "pictures_are_in_range" not in broken
