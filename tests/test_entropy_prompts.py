"""Entropy-weighted templates: the formula in loops, and the promises of the docstring."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.fewshot import METHODS, EntropyPrompts, fit, fit_shots, load_classifier
from clipx.spaces.loading import load_space
from clipx.zeroshot import ZeroShotClassifier

LABELS = ["chair", "night_stand", "cat"]
TEMPLATES = ["a photo of a {}", "a depth map of a {}", "{}", "drawing of the small {}"]


def samples(space, seed=0, count=12):
    vectors = normalize(torch.randn(count, space.dim, generator=torch.Generator().manual_seed(seed)), dim=1)
    return Embedding(vectors, space.id, "image"), torch.arange(count) % 3


@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_the_weights_are_the_formula(tiny_space, temperature):
    train, _ = samples(tiny_space)
    found = EntropyPrompts.fit(train, LABELS, tiny_space, TEMPLATES, temperature=temperature)
    texts = np.array(
        [tiny_space.encode_text([t.replace("{}", name.replace("_", " ")) for name in LABELS]) for t in TEMPLATES], float
    )
    entropies = []
    for text in texts:
        total = 0.0
        for x in train.vectors.astype(float):
            shares = [math.exp(tiny_space.logit_scale * float(x @ row)) for row in text]
            total -= sum(p / sum(shares) * math.log(p / sum(shares)) for p in shares)
        entropies.append(total / len(train))
    beta = np.exp(-np.array(entropies) / temperature)
    beta /= beta.sum()
    np.testing.assert_allclose(found.settings["template_weights"], beta, atol=1e-5)
    assert temperature == 1 or beta.max() > beta.min() * 1.1
    weights = sum(b * text for b, text in zip(beta, texts, strict=True))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    expected = tiny_space.logit_scale * train.vectors @ weights.T
    np.testing.assert_allclose(found.logits(train), expected, atol=1e-3)
    assert (found.settings["samples"], found.settings["views"], found.settings["templates"]) == (12, 1, TEMPLATES)


def test_very_warm_it_is_the_zero_shot_classifier(tiny_space):
    train, _ = samples(tiny_space)
    found = EntropyPrompts.fit(train, LABELS, tiny_space, TEMPLATES, temperature=1e9)
    np.testing.assert_allclose(
        found.logits(train), ZeroShotClassifier(tiny_space, LABELS, TEMPLATES).logits(train), atol=1e-4
    )


def test_labels_of_the_shots_play_no_part(tiny_space):
    train, targets = samples(tiny_space)
    zeroshot = ZeroShotClassifier(tiny_space, LABELS, TEMPLATES)
    one, other = (
        METHODS["entropy"].fit(_shots(train, labels, zeroshot, tiny_space)) for labels in (targets, targets.flip(0))
    )
    assert torch.equal(one.weight, other.weight) and one.settings == other.settings


def _shots(train, targets, zeroshot, space):
    from clipx.fewshot import Shots

    return Shots(train, targets.tolist(), zeroshot.labels, zeroshot, space=space)


def test_templates_are_the_zero_shot_classifiers_or_imagenets(tiny_space):
    train, targets = samples(tiny_space)
    several = ZeroShotClassifier(tiny_space, LABELS, TEMPLATES)
    assert several.prompts == tuple(TEMPLATES)
    found = fit_shots("entropy", train, targets.tolist(), several, 2, space=tiny_space)
    assert found.settings["templates"] == TEMPLATES
    assert (found.settings["selection"], found.settings["samples"]) == ("fixed beforehand", 6)
    one = ZeroShotClassifier(tiny_space, LABELS, "a photo of a {}")
    assert one.prompts == ("a photo of a {}",)
    assert len(fit_shots("entropy", train, targets.tolist(), one, 2, space=tiny_space).settings["templates"]) == 80
    own = {label: [f"a {label}"] for label in LABELS}
    given = ZeroShotClassifier(tiny_space, LABELS, own)
    assert given.prompts == own
    assert len(fit_shots("entropy", train, targets.tolist(), given, 2, space=tiny_space).settings["templates"]) == 80
    with pytest.raises(InputError, match="give it the space"):
        fit_shots("entropy", train, targets.tolist(), one, 2)


def test_an_embedded_space_reads_the_templates_that_it_knows():
    nano = load_space("nano", backend="torch")
    train, targets = samples(nano)
    names = ["cat", "dog", "chair"]
    found = fit(train, [names[k] for k in targets], "entropy", space=nano)
    zeroshot = ZeroShotClassifier(nano, sorted(names), "imagenet")
    assert 1 < len(zeroshot.prompts) < 80 and found.settings["templates"] == list(zeroshot.prompts)


def test_saved_and_loaded_and_other_classes(tiny_space, tiny_vit_space, tmp_path):
    train, _ = samples(tiny_space)
    found = EntropyPrompts.fit(train, LABELS, tiny_space, TEMPLATES)
    path = found.save(tmp_path / "it.safetensors")
    again = load_classifier(path)
    assert torch.equal(again.logits(train), found.logits(train)) and again.settings == found.settings
    assert again.save(tmp_path / "twice.safetensors").read_bytes() == path.read_bytes()
    others = ZeroShotClassifier(tiny_space, ["cup", "table"])
    with pytest.raises(InputError, match="attached"):
        again.for_classes(others)
    made = again.attached(tiny_space).for_classes(others)
    assert made.labels == ("cup", "table") and torch.equal(made.logits(train), found.for_classes(others).logits(train))
    beta = torch.tensor(found.settings["template_weights"])
    text = tiny_space.encode_text([t.replace("{}", "table") for t in TEMPLATES])
    expected = normalize(beta @ torch.from_numpy(text), dim=0) * tiny_space.logit_scale
    torch.testing.assert_close(made.weight[1], expected, atol=1e-4, rtol=1e-4)
    for call in (lambda: found.attached(tiny_vit_space), lambda: found.for_classes(_of(tiny_vit_space))):
        with pytest.raises(SpaceMismatchError):
            call()


def _of(space):
    return ZeroShotClassifier(space, LABELS)


def test_gradients_views_and_refusals(tiny_space, tiny_vit_space):
    train, _ = samples(tiny_space)
    found = EntropyPrompts.fit(train, LABELS, tiny_space, TEMPLATES, views=2)
    assert found.settings["samples"] == 6 and found.logits(train).shape == (6, 3)
    vectors = torch.tensor(train.vectors, requires_grad=True)
    found.logits(vectors)[:, 0].sum().backward()
    assert (vectors.grad.abs().sum(1) > 0).all()
    for wrong in ({"templates": []}, {"templates": "a {}"}, {"temperature": 0.0}, {"temperature": math.nan}):
        with pytest.raises(InputError):
            EntropyPrompts.fit(train, LABELS, tiny_space, **{"templates": TEMPLATES, **wrong})
    with pytest.raises(InputError, match="no samples"):
        EntropyPrompts.fit(train[:0], LABELS, tiny_space, TEMPLATES)
    with pytest.raises(InputError, match="does not say where"):
        EntropyPrompts.fit(train, LABELS, tiny_space, ["a photo"])
    with pytest.raises(SpaceMismatchError):
        EntropyPrompts.fit(train, LABELS, tiny_vit_space, TEMPLATES)
