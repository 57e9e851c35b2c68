"""CoCoOp against the released way written out, and the promises of its docstring."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, normalize

from clipx.embedding import Embedding
from clipx.errors import ClipxError, FileError, InputError, SpaceMismatchError, UnsupportedError, VocabularyError
from clipx.fewshot import METHODS, CoCoOp, CoCoOpConfig, MetaNet, fit, fit_shots, load_classifier
from clipx.fewshot.cocoop import _noise
from clipx.space import random_space
from clipx.spaces.loading import load_space
from clipx.zeroshot import ZeroShotClassifier

LABELS = ["chair", "night_stand", "a very long cup of tea"]
QUICK = CoCoOpConfig(epochs=3, lr=0.02)


@pytest.fixture(scope="module")
def space():
    """Tiny towers whose texts have CLIP's 77 tokens; W = 48 is not D = 32."""
    from conftest import PREPROCESS, RESNET, TEXT

    return random_space(RESNET | {"text_cfg": TEXT | {"context_length": 77, "width": 48}}, preprocess_cfg=PREPROCESS)


@pytest.fixture(scope="module")
def lite():
    return load_space("lite", backend="torch")


def samples(space, seed, count=4):
    rng = torch.Generator().manual_seed(7)
    centres = normalize(torch.randn(3, space.dim, generator=rng), dim=1)
    noise = 0.3 * torch.randn(3 * count, space.dim, generator=rng.manual_seed(seed)) / space.dim**0.5
    vectors = normalize(centres.repeat_interleave(count, 0) + noise, dim=1)
    return Embedding(vectors, space.id, "image"), torch.arange(3).repeat_interleave(count)


@pytest.fixture(scope="module")
def fitted(space):
    return CoCoOp.fit(*samples(space, 0), LABELS, space, config=QUICK)


def released_logits(space, names, context, linear1, linear2, image, scale):
    """One image's logits: its own prompts of 77 tokens for each class, through the text tower."""
    text = space.backbone.model
    tokens = space.backbone.tokenizer([f"a photo of a {name.replace('_', ' ')}." for name in names])
    embedded = text.token_embedding(tokens)
    image = image / image.norm()
    bias = linear2(torch.relu(linear1(image)))
    shifted = context + bias  # the same for the four
    rows = []
    for i in range(len(names)):
        prompt = torch.cat([embedded[i, :1], shifted, embedded[i, 1 + len(context) :]])
        assert len(prompt) == 77
        x = text.transformer((prompt + text.positional_embedding)[None], attn_mask=text.attn_mask)
        x = text.ln_final(x)[0, tokens[i].argmax()] @ text.text_projection
        rows.append(x / x.norm())
    return scale * image @ torch.stack(rows).T


def test_training_is_the_released_one(space):
    train, targets = samples(space, 0, 2)
    config = dataclasses.replace(QUICK, epochs=2, lr=0.002)
    found = CoCoOp.fit(train, targets, LABELS, space, config=config)
    text = space.backbone.model
    start = text.token_embedding(space.backbone.tokenizer(["a photo of a"]))[0, 1:5].detach()
    context = torch.nn.Parameter(start.clone())
    meta_net = MetaNet(32, 48)
    assert (meta_net.first.weight.shape, meta_net.second.weight.shape) == ((2, 32), (48, 2))
    sgd = torch.optim.SGD([context, *meta_net.parameters()], lr=1, momentum=0.9, weight_decay=5e-4)
    draw = torch.Generator().manual_seed(0)
    for rate in (1e-5, 0.002):  # a constant first epoch, then the cosine's beginning
        sgd.param_groups[0]["lr"] = rate
        for i in torch.randperm(6, generator=draw):
            image = torch.tensor(train.vectors[int(i)])
            logits = released_logits(space, LABELS, context, meta_net.first, meta_net.second, image, space.logit_scale)
            sgd.zero_grad()
            cross_entropy(logits[None], targets[i][None]).backward()
            sgd.step()
    assert not torch.allclose(context, start, atol=1e-4)
    torch.testing.assert_close(found.context, context.detach(), atol=1e-5, rtol=1e-3)
    for name, value in meta_net.state_dict().items():
        torch.testing.assert_close(found.meta_net.state_dict()[name], value, atol=1e-5, rtol=1e-3)
    kept = found.settings
    assert (kept["batch_size"], kept["template"], kept["samples"], kept["seed"]) == (1, "a photo of a {}", 6, 0)


def test_answers_are_the_released_ones(space, fitted, monkeypatch):
    things, _ = samples(space, 1)
    net = fitted.meta_net
    expected = torch.stack(
        [
            released_logits(space, LABELS, fitted.context, net.first, net.second, torch.tensor(row), space.logit_scale)
            for row in things.vectors
        ]
    ).detach()
    found = fitted.logits(things)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not found.requires_grad  # no graph of N x K texts
    weights = fitted.class_weights(torch.tensor(things.vectors))
    assert weights.shape == (12, 3, 32) and not torch.allclose(weights[0], weights[1], atol=1e-4)
    sizes, tower = [], space.backbone.encode_packed
    monkeypatch.setattr(
        space.backbone, "encode_packed", lambda x, *rest: sizes.append(x.shape[:2].numel()) or tower(x, *rest)
    )
    monkeypatch.setattr("clipx.fewshot.cocoop.MOST_TOKENS", 60)
    torch.testing.assert_close(fitted.logits(things), found, atol=1e-5, rtol=1e-5)
    assert sizes == [60] * 4  # 20 tokens an image: memory is bounded


def test_gradients_flow_to_the_vectors_but_to_no_weight(space, fitted):
    things, _ = samples(space, 1)
    vectors = torch.tensor(things.vectors, requires_grad=True)
    logits = fitted.logits(vectors)
    torch.testing.assert_close(logits.detach(), fitted.logits(things), atol=1e-5, rtol=1e-5)
    logits[:, 0].sum().backward()
    assert (vectors.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in [*fitted.meta_net.parameters(), *space.backbone.model.parameters()])


@pytest.mark.parametrize("noise", [False, True])
def test_it_is_deterministic_and_answers_one_by_one(space, noise):
    train, targets = samples(space, 0)
    config = dataclasses.replace(QUICK, epochs=2, noise=noise)
    one = CoCoOp.fit(train, targets, LABELS, space, config=config)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    same = CoCoOp.fit(train, targets, LABELS, space, config=config)
    things, _ = samples(space, 1)
    assert torch.equal(one.logits(things), same.logits(things)) and one.settings == same.settings
    assert torch.equal(torch.get_rng_state(), before)
    other = CoCoOp.fit(train, targets, LABELS, space, config=dataclasses.replace(config, seed=1))
    assert not torch.equal(one.logits(things), other.logits(things))
    alone = torch.cat([one.logits(things[i : i + 1]) for i in range(12)])
    torch.testing.assert_close(alone, one.logits(things), atol=1e-4, rtol=1e-4)
    order = list(range(12))[::-1]
    torch.testing.assert_close(one.logits(things[order]), one.logits(things)[order], atol=1e-4, rtol=1e-4)
    assert one.predict(things[:0]) == []


def test_it_learns_classes_that_the_words_do_not_tell(space):
    train, targets = samples(space, 0)
    test, truth = samples(space, 1)
    zeroshot = ZeroShotClassifier(space, LABELS)
    assert (zeroshot.logits(test).argmax(1) == truth.numpy()).mean() < 0.7
    found = CoCoOp.fit(train, targets, LABELS, space, config=CoCoOpConfig(epochs=40, lr=0.02))
    assert (found.logits(test).argmax(1) == truth).float().mean() > 0.9


def test_views_are_pooled(space):
    train, targets = samples(space, 0)
    twice = train[[i for i in range(12) for _ in range(2)]]
    found = CoCoOp.fit(twice, targets, LABELS, space, 2, QUICK)
    plain = CoCoOp.fit(train, targets, LABELS, space, 1, QUICK)
    torch.testing.assert_close(found.logits(twice), plain.logits(train), atol=1e-3, rtol=1e-3)
    assert found.views == found.settings["views"] == 2


def test_saved_and_loaded_it_answers_once_it_is_attached(space, fitted, tiny_space, tmp_path):
    things, _ = samples(space, 1)
    path = fitted.save(tmp_path / "it.safetensors")
    again = load_classifier(path)
    assert (again.labels, again.space_id, again.kind) == (tuple(LABELS), space.id, "cocoop")
    assert again.settings == json.loads(json.dumps(fitted.settings))
    for ask in (again.logits, again.predict):
        with pytest.raises(InputError, match=r"attached\(space\) first") as error:
            ask(things)
        assert "\n" not in str(error.value)
    with pytest.raises(SpaceMismatchError, match="fitted in space"):
        again.attached(tiny_space)
    there = again.attached(space)
    assert torch.equal(there.logits(things), fitted.logits(things))
    assert there.predict(things) == fitted.predict(things)
    assert there.save(tmp_path / "twice.safetensors").read_bytes() == path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"first.weight", b"first.waight"))
    with pytest.raises(FileError, match="is no few-shot classifier"):
        load_classifier(path)


@pytest.mark.parametrize("damage", ["nan context", "nan meta_net.second.bias", "short context", "seed"])
def test_damaged_files_are_refused_before_they_answer(space, fitted, damage, tmp_path):
    path = fitted.save(tmp_path / "it.safetensors")
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["clipx"])
    tensors, (what, _, name) = load_file(path), damage.partition(" ")
    if what == "nan":
        tensors[name].view(-1)[0] = math.nan
    elif what == "short":
        tensors[name] = tensors[name][:-1].contiguous()
    else:
        about["settings"]["seed"] = -1
    save_file(tensors, path, {"clipx": json.dumps(about)})
    with pytest.raises(ClipxError) as error:
        load_classifier(path).attached(space)
    assert "\n" not in str(error.value)


def test_predictions_are_the_softmax_of_the_logits(space, fitted):
    things, _ = samples(space, 1)
    logits, rows = fitted.logits(things), fitted.predict(things)
    for scores, shares, row in zip(logits, logits.softmax(1), rows, strict=True):
        assert [p.label for p in row] == [LABELS[k] for k in scores.argsort(descending=True)]
        assert [p.probability for p in row] == pytest.approx(shares.sort(descending=True).values.tolist())
        assert [p.cosine * space.logit_scale for p in row] == pytest.approx(
            scores.sort(descending=True).values.tolist(), abs=1e-4
        )


def test_other_classes_are_read_with_the_same_context_and_meta_net(space, fitted, tiny_space, tmp_path):
    others = ZeroShotClassifier(space, ["cup", "tea pot", "cat", "dog"])
    made, things = fitted.for_classes(others), samples(space, 1)[0]
    assert made.labels == others.labels
    net = fitted.meta_net
    image = torch.tensor(things.vectors[0])
    expected = released_logits(space, others.labels, fitted.context, net.first, net.second, image, space.logit_scale)
    torch.testing.assert_close(made.logits(things[:1])[0], expected.detach(), atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="attached"):
        load_classifier(fitted.save(tmp_path / "it.safetensors")).for_classes(others)
    with pytest.raises(SpaceMismatchError):
        fitted.for_classes(ZeroShotClassifier(tiny_space, LABELS))


# Noise: the control.


def test_the_control_reads_noise_instead_of_the_image(space):
    train, targets = samples(space, 0)
    found = CoCoOp.fit(train, targets, LABELS, space, config=dataclasses.replace(QUICK, noise=True))
    rows = torch.tensor(samples(space, 1)[0].vectors)
    noise = _noise(rows, 0)
    assert torch.equal(noise, _noise(rows, 0)) and not torch.allclose(noise, _noise(rows, 1), atol=0.1)
    torch.testing.assert_close(noise.norm(dim=1), torch.ones(12))
    assert float((normalize(rows, dim=1) * noise).sum(1).abs().mean()) < 0.35  # nothing of the image, sqrt(2 / 32 pi)
    near = rows[:1] + 1e-6
    assert not torch.allclose(_noise(near, 0), noise[:1], atol=0.1)  # and nothing that is smooth in it
    read = CoCoOp(found.meta_net, found.context, LABELS, space.id, 1.0, 1, {**found.settings, "noise": False}, space)
    looks = normalize(rows, dim=1)
    torch.testing.assert_close(found.class_weights(looks), read.class_weights(_noise(looks, 0)))
    assert METHODS["cocoop_noise"].control and not METHODS["cocoop"].control


def test_both_by_the_protocol(lite):
    names = ["cat", "cup", "chair"]
    train, targets = samples(lite, 0)
    zeroshot = ZeroShotClassifier(lite, names)
    image, noise = (
        fit_shots(method, train, targets.tolist(), zeroshot, 2, space=lite) for method in ("cocoop", "cocoop-noise")
    )
    assert (image.settings["noise"], noise.settings["noise"]) == (False, True)
    assert image.settings["selection"] == "fixed beforehand" and image.settings["epochs"] == 10
    assert (image.context.shape, image.meta_net.second.weight.shape) == ((1, 512), (512, 32))
    assert not torch.equal(image.logits(train), noise.logits(train))
    with pytest.raises(InputError, match="give it the space"):
        fit_shots("cocoop", train, targets.tolist(), zeroshot, 2)


def test_untrained_on_a_tower_that_adds_words_it_is_the_zero_shot_classifier(lite):
    names = ["cat", "cup", "chair"]
    train, targets = samples(lite, 0)
    still = CoCoOpConfig(epochs=1, lr=0.0, warmup_lr=0.0)
    found = fit(train, [names[k] for k in targets], "cocoop", space=lite)
    assert found.labels == ("cat", "chair", "cup")
    untrained = CoCoOp.fit(train, targets, names, lite, config=still)
    zeroshot = ZeroShotClassifier(lite, names, "a photo of a {}.")
    np.testing.assert_allclose(untrained.logits(train), zeroshot.logits(train), atol=1e-4)


def test_what_cannot_be_fitted_is_one_line(space, tiny_space, tiny_vit_space, monkeypatch):
    train, targets = samples(space, 0)
    with pytest.raises(SpaceMismatchError):
        CoCoOp.fit(train, targets, LABELS, tiny_space)
    for wrong, message in ((targets[:-1], "11 targets"), (targets * 0, "classes without a sample")):
        with pytest.raises(InputError, match=message):
            CoCoOp.fit(train, wrong, LABELS, space)
    with pytest.raises(InputError, match="loss is"):
        CoCoOp.fit(train, targets, LABELS, space, config=CoCoOpConfig(epochs=2, warmup_lr=1e30))
    for bad in ({"epochs": 0}, {"batch_size": 0}, {"reduction": 0}, {"seed": -1}, {"lr": math.nan}):
        with pytest.raises(InputError, match="CoCoOp"):
            CoCoOpConfig(**bad)
    nano = load_space("nano", backend="torch")
    with pytest.raises(VocabularyError, match="qwertz"):
        CoCoOp.fit(*samples(nano, 0), ["cat", "dog", "qwertz"], nano)
    monkeypatch.setattr(tiny_vit_space.backbone.model, "text_pool_type", "last")
    with pytest.raises(UnsupportedError, match="token embeddings"):
        CoCoOp.fit(*samples(tiny_vit_space, 0), LABELS, tiny_vit_space)
