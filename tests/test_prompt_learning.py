"""Learned context: it begins as the words it replaces, and nothing else learns."""

import numpy as np
import pytest
import torch

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError, UnsupportedError, VocabularyError
from clipx.fewshot import CoOp, CoOpConfig, fit_shots, load_classifier
from clipx.prompt_learning import PromptLearner
from clipx.spaces.loading import load_space
from clipx.zeroshot import ZeroShotClassifier

LABELS = ["chair", "night_stand", "cat"]


@pytest.mark.parametrize("template", ["a photo of a {}", "{} of a depth map", "a drawing of a {} map", "a  small {}"])
@pytest.mark.parametrize("per_label", [False, True])
def test_untrained_it_says_what_the_sentence_says(tiny_space, template, per_label):
    said = tiny_space.encode_text([template.replace("{}", label.replace("_", " ")) for label in LABELS])
    found = PromptLearner(tiny_space, LABELS, template, per_label=per_label)()
    np.testing.assert_allclose(found.detach(), said, atol=1e-6)


def test_nano_says_the_same():
    space = load_space("nano")
    found = PromptLearner(space, ["far", "extremely close"], "this object is {}")()
    said = space.encode_text(["this object is far", "this object is extremely close"])
    np.testing.assert_allclose(found.detach(), said, atol=1e-5)


def test_only_the_context_learns(tiny_space):
    before = tiny_space.backbone.weights_sha256()
    learner = PromptLearner(tiny_space, LABELS, "a photo of a {}")
    assert [name for name, _ in learner.named_parameters()] == ["context"]
    aim = torch.eye(tiny_space.dim)[:3]
    optimizer, losses = torch.optim.Adam(learner.parameters(), lr=0.05), []
    for _ in range(8):
        loss = -(learner() * aim).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    assert all(p.grad is None for p in tiny_space.backbone.model.parameters())
    assert tiny_space.backbone.weights_sha256() == before


def test_the_gradient_is_that_of_finite_differences(tiny_space):
    learner = PromptLearner(tiny_space, LABELS[:2], 2, seed=1)
    way = torch.randn(2, tiny_space.dim, generator=torch.Generator().manual_seed(0))
    (learner() * way).sum().backward()
    step = torch.randn(learner.context.shape, generator=torch.Generator().manual_seed(1))
    told = float((learner.context.grad * step).sum())
    with torch.no_grad():
        learner.context += 1e-3 * step
        high = (learner() * way).sum()
        learner.context -= 2e-3 * step
        low = (learner() * way).sum()
    assert float(high - low) / 2e-3 == pytest.approx(told, rel=0.02)


def test_the_same_seed_draws_the_same_context(tiny_space):
    state = torch.get_rng_state()
    one, same, other = (PromptLearner(tiny_space, LABELS, 4, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.context, same.context)
    assert not torch.equal(one.context, other.context)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.context.shape == (4, 32)
    assert PromptLearner(tiny_space, LABELS, 4, per_label=True).context.shape == (3, 4, 32)


@pytest.mark.parametrize("labels, template", [([], "a {}"), (["cat"], "{}"), (["cat"], "a photo"), (["cat"], 0)])
def test_what_makes_no_prompt_is_one_line(tiny_space, labels, template):
    with pytest.raises(InputError):
        PromptLearner(tiny_space, labels, template)


def test_unknown_words_are_refused():
    with pytest.raises(VocabularyError, match="qwertz"):
        PromptLearner(load_space("nano"), ["qwertz"], 4)


def test_a_text_tower_of_another_kind_is_refused(tiny_space, monkeypatch):
    monkeypatch.setattr(tiny_space.backbone.model, "text_pool_type", "last")
    with pytest.raises(UnsupportedError, match="token embeddings"):
        PromptLearner(tiny_space, LABELS)


# CoOp: a few-shot classifier -----------------------------------------------------------------------------------------


def shots(space, seed, count=6):
    """Samples near one of three directions, none of which the labels' text points to."""
    rng = torch.Generator().manual_seed(7)
    centres = torch.nn.functional.normalize(torch.randn(3, space.dim, generator=rng), dim=1)
    noise = 0.3 * torch.randn(3 * count, space.dim, generator=rng.manual_seed(seed)) / space.dim**0.5
    vectors = torch.nn.functional.normalize(centres.repeat_interleave(count, 0) + noise, dim=1)
    return Embedding(vectors, space.id, "image"), torch.arange(3).repeat_interleave(count)


def test_coop_learns_classes_that_the_words_do_not_tell(tiny_space, tmp_path):
    train, targets = shots(tiny_space, 0)
    config = CoOpConfig(vectors=4, epochs=40, lr=0.1, per_label=True)
    found = CoOp.fit(train, targets, LABELS, tiny_space, config=config)
    test, truth = shots(tiny_space, 1)
    assert (found.logits(test).argmax(1) == truth).float().mean() > 0.9
    assert found.settings["epochs"] == 40
    assert found.settings["samples"] == 18
    again = load_classifier(found.save(tmp_path / "coop.safetensors"))
    assert torch.equal(again.logits(test), found.logits(test))
    same = CoOp.fit(train, targets, LABELS, tiny_space, config=config)
    assert torch.equal(same.context, found.context)


def test_coop_by_the_protocol_takes_the_papers_epochs_and_needs_the_space(tiny_space):
    train, targets = shots(tiny_space, 0, 2)
    zeroshot = ZeroShotClassifier(tiny_space, LABELS)
    found = fit_shots("coop", train, targets.tolist(), zeroshot, 1, space=tiny_space)
    assert (found.settings["epochs"], found.settings["vectors"], found.context.shape) == (50, 16, (16, 32))
    with pytest.raises(InputError, match="give it the space"):
        fit_shots("coop", train, targets.tolist(), zeroshot, 1)


def test_coop_refuses_shots_of_another_space(tiny_space, tiny_vit_space):
    train, targets = shots(tiny_space, 0, 2)
    with pytest.raises(SpaceMismatchError):
        CoOp.fit(train, targets, LABELS, tiny_vit_space)


def test_the_command_takes_coop(here, run_json):
    count = 0
    for label in ("cat", "cup"):
        for part in ("set", "shots"):
            (here / part / label).mkdir(parents=True)
            for i in range(3):
                count += 1  # nothing that is learnt from is tested on
                (here / part / label / f"{i}.png").write_bytes((here / "photo.png").read_bytes() + bytes(count))
    found = run_json("eval image set --shots 1 --method coop --train shots --draws 1")
    assert [row["method"] for row in found["results"]] == ["coop"]
