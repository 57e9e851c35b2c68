"""Learned context: it begins as the words it replaces, and nothing else learns."""

import numpy as np
import pytest
import torch
from PIL import Image

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError, UnsupportedError, VocabularyError
from clipx.fewshot import CoOp, CoOpConfig, fit_shots, load_classifier
from clipx.prompt_learning import PromptLearner
from clipx.prompt_packing import PackedPrompts, packed_prompts
from clipx.space import random_space
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


# The released code, written out --------------------------------------------------------------------------------------

NAMES = ["chair", "night_stand", "a very long cup of tea", "st."]


@pytest.fixture(scope="module")
def full_length_space():
    """Tiny towers whose texts have CLIP's 77 tokens."""
    from conftest import PREPROCESS, RESNET, TEXT

    return random_space(RESNET | {"text_cfg": TEXT | {"context_length": 77}}, preprocess_cfg=PREPROCESS)


def released(space, names, context, position):
    """CoOp's prompts, all 77 tokens of each, and the text tower on them: (K, D) unit rows."""
    text, count = space.backbone.model, context.shape[-2]
    names = [name.replace("_", " ") for name in names]
    tokens = space.backbone.tokenizer([" ".join(["X"] * count) + " " + name + "." for name in names])
    embedded = text.token_embedding(tokens)
    own = [int(space.backbone.tokenizer([name])[0].argmax()) - 1 for name in names]
    prompts = []
    for i in range(len(names)):
        words = context if context.ndim == 2 else context[i]
        start, rest, length = embedded[i, :1], embedded[i, 1 + count :], own[i]
        if position == "end":
            parts = [start, words, rest]
        elif position == "middle":
            half = count // 2
            parts = [start, words[:half], rest[:length], words[half:], rest[length:]]
        else:
            parts = [start, rest[:length], words, rest[length:]]
        prompts.append(torch.cat(parts))
    x = torch.stack(prompts)
    assert x.shape[1] == 77
    x = text.transformer(x + text.positional_embedding, attn_mask=text.attn_mask)
    x = text.ln_final(x)[torch.arange(len(names)), tokens.argmax(-1)] @ text.text_projection
    return torch.nn.functional.normalize(x, dim=1)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("per_label", [False, True])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_prompts_are_the_released_ones(full_length_space, position, per_label, count):
    learner = PromptLearner(full_length_space, NAMES, count, per_label=per_label, position=position, ending=".")
    context = learner.context.detach().clone().requires_grad_()
    expected = released(full_length_space, NAMES, context, position)
    torch.testing.assert_close(learner(), expected, atol=1e-6, rtol=1e-5)
    way = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (expected * way).sum().backward()
    (learner() * way).sum().backward()
    torch.testing.assert_close(learner.context.grad, context.grad, atol=1e-5, rtol=1e-4)


def test_class_specific_contexts_are_drawn_for_each_label(tiny_space):
    context = PromptLearner(tiny_space, LABELS, 4, per_label=True).context.detach()
    assert not torch.equal(context[0], context[1])
    assert float(context.std()) == pytest.approx(0.02, rel=0.2)


def test_the_ending_is_said_but_not_learned(tiny_space):
    learner = PromptLearner(tiny_space, LABELS, "a photo of a {}", ending=".")
    said = tiny_space.encode_text([f"a photo of a {label.replace('_', ' ')}." for label in LABELS])
    np.testing.assert_allclose(learner().detach(), said, atol=1e-6)
    assert learner.context.shape == (4, 32)


@pytest.mark.parametrize("template, position", [(4, "behind"), ("a photo of a {}", "middle"), ("{} there", "front")])
def test_a_position_that_means_nothing_is_refused(tiny_space, template, position):
    with pytest.raises(InputError, match="cannot stand"):
        PromptLearner(tiny_space, LABELS, template, position=position)


@pytest.mark.parametrize("most_tokens", [1, 20, 256])
@pytest.mark.parametrize("template", [4, "a photo of a {}"])
def test_packed_prompts_equal_the_plain_ones(full_length_space, template, most_tokens):
    learner = PromptLearner(full_length_space, NAMES, template, ending=".")
    packed = PackedPrompts(learner, most_tokens)
    assert len(packed.packs) == {1: 4, 20: 2, 256: 1}[most_tokens]
    torch.testing.assert_close(packed(), learner(), atol=1e-6, rtol=1e-5)
    shift = (0.1 * torch.randn(3, 32, generator=torch.Generator().manual_seed(0))).requires_grad_()
    plain = learner(shift)
    for n, own in enumerate(shift):  # a shift moves every vector of the context alike
        moved = released(full_length_space, NAMES, learner.context + own, "end")
        torch.testing.assert_close(plain[n], moved, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(packed(shift), plain, atol=1e-6, rtol=1e-5)
    way = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad((plain * way).sum(), [shift, learner.context])
    found = torch.autograd.grad((packed(shift) * way).sum(), [shift, learner.context])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_only_a_beginning_that_all_labels_share_is_packed(tiny_space):
    assert isinstance(packed_prompts(PromptLearner(tiny_space, LABELS, 4)), PackedPrompts)
    for learner in (
        PromptLearner(tiny_space, LABELS, 4, position="middle"),
        PromptLearner(tiny_space, LABELS, 4, per_label=True),
        PromptLearner(tiny_space, LABELS, "a {} map"),
        PromptLearner(load_space("lite", backend="torch"), ["cat", "cup"], 4),
    ):
        assert packed_prompts(learner) is learner


def test_where_words_are_added_up_a_position_changes_nothing():
    space = load_space("lite", backend="torch")
    learners = [PromptLearner(space, ["cat", "cup"], 4, position=where) for where in ("end", "middle", "front")]
    shift = torch.randn(3, space.dim, generator=torch.Generator().manual_seed(0))
    for learner in learners:
        assert torch.equal(learner(), learners[0]())
        meant = torch.from_numpy(space.encode_text(["cat", "cup"]))
        expected = torch.nn.functional.normalize(meant + shift[:, None], dim=-1)
        torch.testing.assert_close(learner(shift), expected)


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
    config = CoOpConfig(vectors=4, epochs=150, lr=0.03, per_label=True)
    found = CoOp.fit(train, targets, LABELS, tiny_space, config=config)
    test, truth = shots(tiny_space, 1)
    assert (found.logits(test).argmax(1) == truth).float().mean() > 0.9
    assert found.settings["epochs"] == 150
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


@pytest.mark.parametrize(
    "method, per_label, position",
    [
        ("coop", False, "end"),
        ("coop_middle", False, "middle"),
        ("coop_class", True, "end"),
        ("coop-class-middle", True, "middle"),
    ],
)
def test_the_variants_of_coop_read_their_own_prompts(full_length_space, method, per_label, position, monkeypatch):
    monkeypatch.setattr("clipx.fewshot.coop.epochs_for", lambda shots: 2)
    train, targets = shots(full_length_space, 0, 2)
    found = fit_shots(
        method, train, targets.tolist(), ZeroShotClassifier(full_length_space, LABELS), 1, space=full_length_space
    )
    assert (found.settings["per_label"], found.settings["position"]) == (per_label, position)
    assert found.context.shape == ((3, 16, 32) if per_label else (16, 32))
    expected = released(full_length_space, LABELS, found.context, position)
    np.testing.assert_allclose(found.weights.vectors, expected.detach(), atol=1e-5)


@pytest.mark.parametrize("position", ["end", "middle"])
def test_a_unified_context_is_said_around_other_classes(full_length_space, position, tmp_path):
    space = full_length_space
    train, targets = shots(space, 0, 2)
    config = CoOpConfig(vectors=4, epochs=3, lr=0.1, position=position)
    found = CoOp.fit(train, targets, LABELS, space, config=config)
    others = ZeroShotClassifier(space, ["cup", "tea_pot"])
    expected = released(space, others.labels, found.context, position).detach()
    made = found.for_classes(others)
    assert made.labels == ("cup", "tea_pot")
    np.testing.assert_allclose(made.weights.vectors, expected, atol=1e-5)
    loaded = load_classifier(found.save(tmp_path / "it.safetensors"))
    with pytest.raises(InputError, match="attached"):
        loaded.for_classes(others)
    again = loaded.attached(space).for_classes(others)
    assert torch.equal(again.logits(train), made.logits(train))


def test_what_coop_cannot_say_of_other_classes_is_one_line(tiny_space, tiny_vit_space):
    train, targets = shots(tiny_space, 0, 2)
    config = CoOpConfig(vectors=2, epochs=1)
    found = CoOp.fit(train, targets, LABELS, tiny_space, config=config)
    with pytest.raises(SpaceMismatchError):
        found.for_classes(ZeroShotClassifier(tiny_vit_space, LABELS))
    with pytest.raises(SpaceMismatchError):
        found.attached(tiny_vit_space)
    own = CoOp.fit(train, targets, LABELS, tiny_space, config=CoOpConfig(vectors=2, epochs=1, per_label=True))
    with pytest.raises(UnsupportedError, match="class-specific"):
        own.for_classes(ZeroShotClassifier(tiny_space, LABELS))
    with pytest.raises(InputError, match="position"):
        CoOpConfig(position="behind")


def test_coop_refuses_shots_of_another_space(tiny_space, tiny_vit_space):
    train, targets = shots(tiny_space, 0, 2)
    with pytest.raises(SpaceMismatchError):
        CoOp.fit(train, targets, LABELS, tiny_vit_space)


def test_the_command_takes_coop(here, run_json):
    rng = np.random.default_rng(0)
    for label in ("cat", "cup"):
        for part in ("set", "shots"):
            (here / part / label).mkdir(parents=True)
            for i in range(3):
                Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(
                    here / part / label / f"{i}.png"
                )
    found = run_json("eval image set --shots 1 --method coop --train shots --draws 1")
    assert [row["method"] for row in found["results"]] == ["coop"]
