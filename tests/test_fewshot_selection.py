"""Hyperparameters are chosen on the shots alone, and a method that chooses elsewhere is refused."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize, one_hot

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot import METHODS, CacheModel, Method, fit, fit_shots
from clipx.fewshot.selection import CROSS_VALIDATED, FIXED, choose, score, stratified_folds

LABELS, DIM = ("chair", "night stand", "bed"), 8


def unit(seed: int, *shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class Words:
    labels, weights, logit_scale = LABELS, Embedding(unit(0, 3, DIM), "toy", "text", LABELS), 5.0


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(0, 3), st.integers(2, 6))
def test_folds_hold_out_every_row_once_and_train_on_every_class(labels, seed, most):
    targets = torch.tensor(labels)
    smallest = int(targets.bincount()[targets.unique()].min())
    folds = stratified_folds(targets, seed, most)
    assert len(folds) == (min(most, smallest) if smallest > 1 else 0)
    if folds:
        assert sorted(torch.cat([fold.held for fold in folds]).tolist()) == list(range(len(labels)))
    for fold in folds:
        assert sorted([*fold.train.tolist(), *fold.held.tolist()]) == list(range(len(labels)))
        assert set(targets[fold.train].tolist()) == set(labels)


def test_the_best_on_held_out_rows_wins_and_equals_go_to_the_first():
    targets = torch.arange(12) % 3
    right, sure = one_hot(targets, 3).float(), 5 * one_hot(targets, 3).float()
    wrong = one_hot((targets + 1) % 3, 3).float()

    def chosen(*tables: torch.Tensor) -> tuple[int, dict]:
        grid = [{"alpha": float(i)} for i in range(len(tables))]
        return choose(grid, lambda fold: [table[fold.held] for table in tables], targets)

    assert chosen(wrong, right, sure)[0] == 2  # of equal accuracies the lower cross-entropy
    assert chosen(right, wrong, right)[0] == 0
    place, about = chosen(wrong, right)
    assert (place, about["alpha"], about["selection"], about["folds"]) == (1, 1.0, CROSS_VALIDATED, 4)
    assert [(one["alpha"], one["acc1"]) for one in about["tried"]] == [(0.0, 0.0), (1.0, 1.0)]
    assert score(sure, targets)[0] == 1 and score(sure, targets)[1] > score(right, targets)[1]


def test_one_shot_a_class_leaves_the_first_setting():
    place, about = choose(
        [{"alpha": 1.0}, {"alpha": 2.0}], lambda fold: pytest.fail("nothing to fit on"), torch.arange(3)
    )
    assert (place, about) == (0, {"alpha": 1.0, "selection": FIXED})


class Leaky(CacheModel):
    """Chooses its alpha on rows that are not among the shots."""

    @classmethod
    def from_shots(cls, shots):
        fitted = super().from_shots(shots)
        fitted.settings["selection"] = "the test split"
        return fitted


class Silent(CacheModel):
    @classmethod
    def from_shots(cls, shots):
        fitted = super().from_shots(shots)
        del fitted.settings["selection"]
        return fitted


@pytest.mark.parametrize(("planted", "said"), [(Leaky, "chosen on the test split"), (Silent, "nothing that it names")])
def test_a_method_that_chooses_elsewhere_is_refused(planted, said, monkeypatch):
    targets = torch.arange(12) % 3
    things = Embedding(unit(1, 12, DIM), "toy", "image")
    monkeypatch.setitem(METHODS, "planted", Method(planted))
    with pytest.raises(InputError, match=said):
        fit_shots("planted", things, targets.tolist(), Words, 2)


def test_fit_takes_names_and_refuses_what_it_cannot_use():
    things, names = Embedding(unit(1, 12, DIM), "toy", "image"), [LABELS[k % 3] for k in range(12)]
    probe = fit(things, names, "probe")
    assert probe.labels == tuple(sorted(LABELS)) and probe.settings["samples"] == 12
    assert torch.equal(probe.logits(things), fit(things, names, "probe").logits(things))
    assert fit(things, names, "cache", zeroshot=Words).labels == LABELS
    for more, said in [
        ({"method": "cache"}, "needs the classes as words"),
        ({"method": "coop", "zeroshot": Words}, "through a text tower"),
        ({"method": "magic"}, "unknown few-shot method 'magic'"),
        ({"labels": "chair"}, "labels must be a list"),
        ({"labels": names[:11]}, "11 targets for 12 samples"),
        ({"labels": ["chair"] * 12}, "at least two classes"),
        (
            {"labels": [*names[:11], "cup"], "zeroshot": Words, "method": "cache"},
            "the zero-shot classifier has not: cup",
        ),
    ]:
        with pytest.raises(InputError, match=said) as error:
            fit(**{"embedding": things, "labels": names, "method": "probe"} | more)
        assert "\n" not in str(error.value)


def test_every_method_says_what_it_is():
    for name, method in METHODS.items():
        assert name == name.lower() and dataclasses.is_dataclass(method) and method.classifier.__doc__


def test_exchanged_labels_are_never_those_that_were(monkeypatch):
    learned = []

    class Recorded(CacheModel):
        @classmethod
        def from_shots(cls, shots):
            learned.append(list(shots.targets))
            return super().from_shots(shots)

    monkeypatch.setitem(METHODS, "recorded", Method(Recorded))
    things, targets = Embedding(unit(1, 6, DIM), "toy", "image"), [k % 3 for k in range(6)]
    for seed in range(12):  # one shot of three classes: one permutation of six is the identity
        fit_shots("recorded", things, targets, Words, 1, seed)
        fit_shots("recorded", things, targets, Words, 1, seed, shuffled=True)
        real, exchanged = learned[-2:]
        assert sorted(exchanged) == sorted(real) and exchanged != real
