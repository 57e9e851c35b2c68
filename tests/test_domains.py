"""A space with several picture domains: one text side, a head or a tower for every kind of picture."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clipx import backbone as bb
from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot import fit_shots
from clipx.modalities.image import Image, ImageConfig
from clipx.modalities.pointcloud import PointCloud
from clipx.modalities.sketch import Sketch
from clipx.prompt_learning import PromptLearner
from clipx.spaces.embedded import save_embedded
from clipx.spaces.loading import load_space
from clipx.zeroshot import ZeroShotClassifier

TIMM = {"timm_model_name": "test_efficientnet", "timm_pool": "avg", "timm_proj": "linear", "timm_proj_bias": True}
PHOTO = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
PLAIN = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
WORDS = {"phrases": {"cat": 0, "dog": 1, "wolf": 2}, "subwords": ["[PAD]", "[UNK]", "a", "##b"], "seen": 2, "things": 3}
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {**TIMM, "image_size": 64},
    "towers": {"second": {"vision_cfg": {**TIMM, "image_size": 32}, "preprocess_cfg": PLAIN}},
    "domains": {"drawing": "second", "render": "photo"},
    "text_cfg": {"seen": 2, "phrases": 3, "basis": 4, "subwords": 4, "width": 6, "hidden": 5},
}


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    model = bb.build_model(CONFIG)
    with torch.no_grad():
        model.text.seen.normal_(generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("spaces") / "domains"
    named = {"name": "domains", "version": "1", "model_cfg": CONFIG, "preprocess_cfg": PHOTO}
    return load_space(save_embedded(model, folder, vocabulary=WORDS, **named))


def always(space, domain):
    """Let the classifier of domains say one thing whatever it sees."""
    which = space.backbone.model.domain_classifier
    with torch.no_grad():
        which.weight.zero_()
        which.bias.copy_(torch.tensor([9.0 * (name == domain) for name in space.domains]))


def picture(n=3, h=70, w=90):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(1))


def test_every_domain_is_the_same_space_with_other_eyes(space):
    assert space.domains == ("photo", "drawing", "render")
    views = {name: space.domain(name) for name in space.domains}
    assert {view.id for view in views.values()} == {space.id}
    assert views["drawing"].image_size == (32, 32) and views["render"].image_size == (64, 64)
    assert views["drawing"].preprocess.resize_mode == "squash"
    torch.testing.assert_close(views["drawing"].encode_text(["cat"]), space.encode_text(["cat"]))
    rows = [view.encode_image(picture()) for view in views.values()]
    assert min((a - b).abs().max() for a, b in ((rows[0], rows[1]), (rows[0], rows[2]), (rows[1], rows[2]))) > 0.01


def test_a_domain_of_a_domain_is_that_domain_of_the_space(space):
    for one in space.domains:
        for other in space.domains:
            twice = space.domain(one).domain(other)
            torch.testing.assert_close(twice.encode_image(picture()), space.domain(other).encode_image(picture()))
            assert twice.encode_with_domain(picture())[1] == space.encode_with_domain(picture())[1]
            assert twice.logit_scale == space.logit_scale


@pytest.mark.parametrize("name", ["photo", "drawing", "render"])
def test_self_test_of_every_domain(space, name):
    assert "mean of the cells" in space.domain(name).self_test()


def test_an_unknown_domain_is_the_space_itself(space, tiny_space):
    assert space.domain("hologram") is space and space.domain("drawing").domain("photo").image_size == (64, 64)
    assert tiny_space.domain("drawing") is tiny_space and tiny_space.domains == ("photo",)
    assert tiny_space.encode_with_domain(picture())[1] == ["photo"] * 3


def test_a_large_batch_is_encoded_in_parts_on_a_processor(space, monkeypatch):
    """The same rows and domains, in order, in passes of a few pictures; an empty batch gives no rows."""
    pixels = np.random.default_rng(0).random((7, 3, 64, 64), dtype=np.float32)
    whole, domains = space.encode_with_domain(pixels)
    sizes, encode = [], space.backend._run
    monkeypatch.setattr(space.backend, "_run", lambda see, part: sizes.append(len(part)) or encode(see, part))
    monkeypatch.setattr("clipx.backends.torch.PIXELS_PER_THREAD", 3 * 64 * 64)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    rows, found = space.encode_with_domain(pixels)
    np.testing.assert_allclose(rows, whole, atol=1e-6)
    assert found == domains and sizes == [3, 3, 1]
    np.testing.assert_allclose(space.encode_image(pixels), space.encode_image(torch.from_numpy(pixels)), atol=1e-6)
    assert sizes[3:] == [3, 3, 1] and space.backend.encode_image(pixels[:0]).shape == (0, space.dim)


def test_cells_of_an_averaging_tower_are_of_any_size_and_average_to_the_picture(space):
    stride = space.backbone.stride
    pixels = picture(2, 2 * stride[0], 3 * stride[1])
    cells = space.backbone.dense(space.preprocess.normalize(pixels))
    assert cells.shape == (2, 16, 2, 3)
    whole = space.backbone.encode_image(space.preprocess.normalize(pixels))
    torch.testing.assert_close(cells.mean((2, 3)), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("domain", ["photo", "drawing", "render"])
def test_the_image_sense_looks_again_at_what_is_no_photo(space, domain):
    always(space, domain)
    samples = list(picture().numpy())
    looked = Image(space).encode(samples).vectors
    named = Image(space, ImageConfig(domain)).encode(samples).vectors
    np.testing.assert_allclose(looked, named, atol=1e-5)
    alone = np.concatenate([Image(space).encode([sample]).vectors for sample in samples])
    np.testing.assert_allclose(looked, alone, atol=1e-5)


def test_a_domain_that_the_space_does_not_have_is_refused(space, tiny_space):
    with pytest.raises(InputError, match=r"no picture domain 'hologram'.*auto, photo, drawing, render"):
        Image(space, ImageConfig("hologram"))
    with pytest.raises(InputError, match="no picture domain 'drawing'"):
        Image(tiny_space, ImageConfig("drawing"))


def test_senses_say_which_domain_their_pictures_are(space):
    assert Sketch(space).space.image_size == (32, 32)
    assert PointCloud(space, PointCloud.Config(projection="shaded")).space.image_size == (64, 64)
    assert PointCloud(space).domain == "points"


def test_a_context_is_learned_beside_words_that_are_added_up(space):
    learner = PromptLearner(space, ["cat", "dog"], "a photo of a {}")
    torch.testing.assert_close(learner().detach().numpy(), space.encode_text(["cat", "dog"]))
    (-learner()[0, 0]).backward()
    assert learner.context.grad.norm() > 0


def test_coop_learns_where_words_are_added_up(space):
    zeroshot = ZeroShotClassifier(space, ["cat", "dog"])
    generator = torch.Generator().manual_seed(0)
    labels = [0, 1] * 8
    means = F.normalize(torch.randn(2, 16, generator=generator), dim=1)
    rows = F.normalize(means[labels] + 0.1 * torch.randn(16, 16, generator=generator), dim=1)
    classifier = fit_shots("coop", Embedding(rows, space.id, "image"), labels, zeroshot, 8, space=space)
    found = [best[0].label for best in classifier.predict(Embedding(rows, space.id, "image"), 1)]
    assert found == ["cat", "dog"] * 8


@pytest.mark.parametrize("file", [bb.CONFIG, "vocabulary.json"])
def test_identity_covers_what_decides_the_meaning_of_the_weights(space, tmp_path, file):
    folder = save_embedded(
        space.backbone.model, tmp_path / "domains", name="domains", version="1", model_cfg=CONFIG,
        preprocess_cfg=PHOTO, vocabulary=WORDS,
    )  # fmt: skip
    before = load_space(folder).id
    text = (folder / file).read_text()
    (folder / file).write_bytes(text.replace("\n", "\r\n").encode())
    assert load_space(folder).id == before
    changed = text.replace('"wolf": 2', '"fox": 2').replace('"interpolation": "bicubic"', '"interpolation": "bilinear"')
    assert changed != text
    (folder / file).write_text(changed)
    assert load_space(folder).id != before
