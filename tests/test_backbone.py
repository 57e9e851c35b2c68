"""The one package that touches open_clip: every family against its own forward pass, every refusal of weights."""

import copy
import json
import pickle
import zipfile
from importlib import import_module

import pytest
import torch
from conftest import PREPROCESS, RESNET, TEXT, VIT
from torch.nn import functional as F

from clipx import backbone as bb
from clipx.backbone import build, hub, tokenizer, towers
from clipx.backbone.config import agreed_preprocess, recorded_quick_gelu
from clipx.backbone.towers.paths import DENSE_PATHS
from clipx.errors import InputError, MissingDependencyError, SpaceError, UnsupportedError


def changed(config, embed_dim=None, text=None, top=None, **vision):
    config = copy.deepcopy(config)
    config["vision_cfg"].update(vision)
    config["text_cfg"].update(text or {})
    config.update({"embed_dim": embed_dim or config["embed_dim"], **(top or {})})
    return config


def timm(name, embed_dim, **vision):
    vision = {"timm_model_name": name, "timm_model_pretrained": False, "image_size": 160, **vision}
    return {"embed_dim": embed_dim, "custom_text": True, "vision_cfg": vision, "text_cfg": TEXT}


FAMILIES = {
    "resnet": RESNET,
    "resnet-custom-text": changed(RESNET, top={"custom_text": True}, layers=[1, 2, 1, 1]),
    "vit": VIT,
    "vit-quickgelu": changed(VIT, top={"quick_gelu": True}),
    "vit-wide": changed(VIT, image_size=[32, 48]),
    "vit-layer-scale": changed(VIT, ls_init_value=0.3, no_ln_pre=True),
    "vit-average": changed(VIT, pool_type="avg", final_ln_after_pool=True, pos_embed_type="sin_cos_2d"),
    "vit-custom-blocks": changed(VIT, block_type="custom", qk_norm=True),
    "coca": changed(
        VIT,
        text={"context_length": 31, "embed_cls": True, "output_tokens": True},
        top={"multimodal_cfg": {"width": 32, "heads": 2, "layers": 1, "context_length": 31}},
        attentional_pool=True,
        attn_pooler_heads=4,
        output_tokens=True,
    ),
    "timm-siglip": timm("test_vit", 64, timm_pool="map", timm_proj="none"),
    "timm-class-token": timm("test_vit", 32, timm_pool="token", timm_proj="linear"),
    "timm-convnext": timm("test_convnext", 32, timm_pool="avg", timm_proj="linear"),
}
CAPABILITIES = {
    "resnet": {"dense", "stages", "attention"},
    "resnet-custom-text": {"dense", "stages", "attention"},
    "vit-custom-blocks": {"tokens", "stages"},
    "coca": {"stages", "attention"},
    "timm-siglip": {"dense", "stages", "attention"},  # this trunk keeps a class token; SigLIP's own have none
    "timm-class-token": {"dense", "tokens", "stages", "attention"},
    "timm-convnext": {"stages"},
}


@pytest.fixture(scope="module")
def backbones():
    made = {}

    def get(family):
        if family not in made:
            made[family] = bb.random_backbone(FAMILIES[family], PREPROCESS, family, seed=0)
        return made[family]

    return get


@pytest.fixture(params=FAMILIES)
def backbone(request, backbones):
    return backbones(request.param)


def noise(backbone, n=2, size=None, seed=0):
    return torch.randn(n, 3, *(size or backbone.preprocess.size), generator=torch.Generator().manual_seed(seed))


# What a tower can do --------------------------------------------------------------------------------------------------


def test_capabilities(backbone):
    expected = CAPABILITIES.get(backbone.architecture, {"dense", "tokens", "stages", "attention"})
    assert {c for c in ("dense", "tokens", "stages", "attention") if backbone.supports(c)} == expected
    x = noise(backbone)
    for capability, look in {
        "dense": backbone.dense,
        "tokens": lambda x: backbone.dense(x, "token"),
        "stages": backbone.stages,
        "attention": backbone.attention,
    }.items():
        if capability in expected:
            look(x)
        else:
            with pytest.raises(UnsupportedError, match=f"has no {capability}"):
                look(x)


def test_self_test_passes(backbone):
    found = backbone.self_test(noise(backbone), tolerance=1e-5)
    if backbone.architecture not in ("timm-convnext"):
        assert any("projected" in what or "attention weights" in what for what in found)


@pytest.mark.parametrize("family", ["resnet", "vit", "timm-siglip"])
def test_self_test_notices_moved_internals(backbones, family, monkeypatch):
    backbone = backbones(family)
    own = type(backbone.model).encode_image
    monkeypatch.setattr(type(backbone.model), "encode_image", lambda self, x: own(self, x) + 0.1)
    with pytest.raises(SpaceError, match="self-test failed: projected"):
        backbone.self_test(noise(backbone))


@pytest.mark.parametrize("family", ["resnet", "vit", "timm-class-token"])
def test_self_test_notices_wrong_attention(backbones, family, monkeypatch):
    from clipx.backbone.towers.base import attention_weights as own

    module = import_module(type(backbones(family).tower).__module__)
    monkeypatch.setattr(module, "attention_weights", lambda q, k, heads: own(1.01 * q, k, heads))
    with pytest.raises(SpaceError, match="self-test failed: attention weights"):
        backbones(family).self_test(noise(backbones(family)))


@pytest.mark.parametrize("family", ["resnet", "vit", "vit-wide", "timm-class-token"])
def test_attention_rows_are_distributions(backbones, family):
    backbone = backbones(family)
    weights = backbone.attention(noise(backbone))
    cells = (backbone.preprocess.size[0] // backbone.stride[0]) * (backbone.preprocess.size[1] // backbone.stride[1])
    assert weights.shape[0] == 2 and weights.shape[-2:] == (1 + cells, 1 + cells)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_attention_leaves_features_alone(backbones):
    backbone = backbones("vit")
    x = noise(backbone)
    before = backbone.encode_image(x)
    backbone.attention(x)
    assert torch.equal(before, backbone.encode_image(x))
    assert not any(block.attn._forward_pre_hooks for block in backbone.model.visual.transformer.resblocks)


def test_vit_value_path_is_attention_to_oneself(backbones):
    """The definition: the last block, masked so that every token sees itself alone."""
    backbone = backbones("vit-quickgelu")
    visual, x = backbone.model.visual, noise(backbone)
    before = visual.forward_intermediates(
        x, indices=[1], intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
    )
    tokens = torch.cat([before["image_intermediates_prefix"][0], before["image_intermediates"][0]], dim=1)
    alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
    expected = visual.ln_post(visual.transformer.resblocks[2](tokens, attn_mask=alone))[:, 1:] @ visual.proj
    torch.testing.assert_close(backbone.dense(x).flatten(2).mT, expected, atol=1e-5, rtol=1e-4)


def test_vit_value_path_does_not_run_what_it_replaces(backbones):
    """The last block's own attention is left out, and nothing changes by it."""
    backbone = backbones("vit")
    x, tower, ran = noise(backbone), backbone.tower, []
    hooks = [block.register_forward_hook(lambda block, *_: ran.append(block)) for block in tower.blocks]
    try:
        found = backbone.dense(x)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == list(tower.blocks[:-1])
    tokens, grid = tower._run(x)
    whole = tower.visual.ln_post(DENSE_PATHS["value"](tokens[:-1], tower._last(), grid)) @ tower.visual.proj
    assert torch.equal(found.flatten(2).mT, whole)


def test_vit_token_path_is_the_projected_last_block(backbones):
    backbone = backbones("vit")
    x = noise(backbone)
    own = backbone.model.visual.forward_intermediates(x, indices=1, normalize_intermediates=True)
    expected = torch.einsum("nchw,cd->ndhw", own["image_intermediates"][0], backbone.model.visual.proj)
    torch.testing.assert_close(backbone.dense(x, "token"), expected, atol=1e-5, rtol=1e-4)


def test_resnet_value_path_is_attention_to_oneself(backbones):
    """The definition: each location alone through open_clip's own pool, positions set to zero."""
    backbone = backbones("resnet")
    pool, x = copy.deepcopy(backbone.model.visual.attnpool), noise(backbone)
    features = backbone.stages(x)["layer4"]
    pool.positional_embedding.data = torch.zeros(2, features.shape[1])
    expected = torch.stack([pool(features[:, :, i : i + 1, j : j + 1]) for i in range(2) for j in range(2)], dim=-1)
    torch.testing.assert_close(backbone.dense(x).flatten(2), expected, atol=1e-5, rtol=1e-4)


def test_siglip_value_path_is_the_pool_over_one_token(backbones):
    backbone = backbones("timm-siglip")
    x, trunk = noise(backbone), backbone.model.visual.trunk
    tokens = trunk.forward_features(x)[:, trunk.num_prefix_tokens :]
    expected = torch.stack([trunk.attn_pool(tokens[:, i : i + 1]) for i in range(tokens.shape[1])], dim=-1)
    torch.testing.assert_close(backbone.dense(x).flatten(2), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_other_sizes(backbones, family):
    backbone = backbones(family)
    h, w = backbone.stride[0] * 3, backbone.stride[1] * 5
    x = noise(backbone, size=(h, w))
    assert backbone.dense(x).shape == (2, 32, 3, 5)
    assert backbone.attention(x).shape[-1] == 16
    assert all(len(stage) == 2 for stage in backbone.stages(x).values())


def test_resized_positions():
    embedding = torch.cat([torch.full((1, 4), 9.0), torch.linspace(0, 1, 6).repeat_interleave(4).view(6, 4)])
    assert towers.resize_positions(embedding, (2, 3), (2, 3)) is embedding
    larger = towers.resize_positions(embedding, (2, 3), (4, 6))
    assert larger.shape == (25, 4) and torch.equal(larger[0], embedding[0])
    rows = larger[1:, 0].view(4, 6)
    assert (rows.diff(dim=0) > 0).all() and (rows.diff(dim=1) > 0).all()  # the order of places is kept
    flat = towers.resize_positions(torch.ones(5, 3), (2, 2), (3, 1))
    torch.testing.assert_close(flat, torch.ones(4, 3))


# Frozen ---------------------------------------------------------------------------------------------------------------


def test_frozen(backbone):
    model = backbone.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for module in (model, model.visual, *list(model.visual.modules())[1:]):
        assert module.train() is module and not module.training
    backbone.encode_image(noise(backbone))
    backbone.stages(noise(backbone))
    assert not any(p.requires_grad for p in model.parameters())
    for name, value in model.state_dict().items():  # open_clip leaves a parameter of CoCa as memory was: maybe NaN
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True, msg=name)


def test_frozen_survives_copies(backbones):
    model = backbones("resnet").model
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin is not model and twin.train() is twin and not twin.training
        assert twin.visual.bn1.train() is twin.visual.bn1 and not twin.visual.bn1.training


def test_gradients_reach_the_pixels(backbone):
    looks = {
        "encode": backbone.encode_image,
        "dense": backbone.dense,
        "stages": lambda x: next(reversed(backbone.stages(x).values())),
        "attention": lambda x: backbone.attention(x)[..., 0, 1],
    }
    for name, look in looks.items():
        if name == "encode" or backbone.supports(name):
            x = noise(backbone).requires_grad_()
            look(x).square().sum().backward()
            assert x.grad is not None and torch.isfinite(x.grad).all() and x.grad.abs().max() > 0, name


def test_loading_leaves_the_random_state():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two, other = (bb.build_model(VIT, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert bb.state_sha256(one.state_dict()) == bb.state_sha256(two.state_dict()) != bb.state_sha256(other.state_dict())
    assert one.training and all(p.requires_grad for p in one.parameters())


def test_weights_hash_ignores_storage(tmp_path):
    state = {"b": torch.ones(2, 3), "a": torch.arange(3)}
    swapped = {"a": torch.arange(3), "b": torch.ones(3, 2).T.half()}
    assert bb.state_sha256(state) == bb.state_sha256(swapped)
    assert bb.state_sha256(state) != bb.state_sha256({**state, "b": torch.ones(3, 2)})


# Words ----------------------------------------------------------------------------------------------------------------


def test_too_long_a_text_is_refused(backbones):
    backbone = backbones("vit")
    fits = " ".join(["dog"] * (TEXT["context_length"] - 2))
    assert backbone.encode_text([fits]).shape == (1, 32)
    with pytest.raises(InputError, match="33 tokens does not fit the 32"):
        backbone.encode_text(["a chair", fits + " dog"])


def test_tokens_are_open_clips(backbones):
    import open_clip

    texts = ["a photo of a chair", "", "Ünïcode, 3 dogs & a 'cat's\n paw"]
    assert torch.equal(backbones("vit").tokenizer(texts), open_clip.tokenize(texts, context_length=32))


def test_unknown_tokenizers_are_refused():
    with pytest.raises(SpaceError, match=r"tokenizer is unknown: the model has 32000 tokens.*hf_tokenizer_name"):
        bb.build_tokenizer({"text_cfg": {**TEXT, "vocab_size": 32000}})
    with pytest.raises(SpaceError, match="no hf_tokenizer_name"):
        bb.build_tokenizer({"text_cfg": {**TEXT, "hf_model_name": "roberta-base"}})


def test_hub_tokenizer_offline(monkeypatch):
    for module in (hub, tokenizer):
        monkeypatch.setattr(module, "reachable", lambda: False)
    with pytest.raises((SpaceError, MissingDependencyError), match=r"offline|clipx-modalities\[hub\]"):
        bb.build_tokenizer({"text_cfg": {**TEXT, "hf_tokenizer_name": "nobody/nothing"}})


def test_random_space_without_tokenizer(backbones):
    backbone = bb.random_backbone(changed(VIT, text={"hf_tokenizer_name": "x/y"}), None, "vit", 0)
    with pytest.raises(UnsupportedError, match="no tokenizer"):
        backbone.encode_text(["a"])


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    """tiny-vit, tiny-vit-quickgelu and tiny-resnet as names that open_clip knows."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")
    for name, config in {
        "tiny-vit": VIT,
        "tiny-vit-quickgelu": FAMILIES["vit-quickgelu"],
        "tiny-resnet": RESNET,
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    before = list(open_clip.factory._MODEL_CONFIG_PATHS), dict(open_clip.factory._MODEL_CONFIGS)
    open_clip.add_model_config(folder)
    yield "tiny-vit"
    open_clip.factory._MODEL_CONFIG_PATHS[:], open_clip.factory._MODEL_CONFIGS = before


@pytest.fixture
def folder(tmp_path):
    """A folder in open_clip's layout: config and no weights yet."""
    (tmp_path / bb.CONFIG).write_text(json.dumps({"model_cfg": VIT, "preprocess_cfg": PREPROCESS}))
    return tmp_path


@pytest.fixture(scope="module")
def state(backbones):
    return backbones("vit").model.state_dict()


def test_weights_file_of_an_architecture(architecture, folder, state, backbones):
    from safetensors.torch import save_file

    save_file(state, folder / "w.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, folder / "w.pt")
    torch.save({**state, "logit_scale": state["logit_scale"].reshape(1)}, folder / "w.bin")
    for name in ("w.safetensors", "w.pt", "w.bin"):
        backbone = bb.create(architecture, folder / name)
        assert backbone.weights_sha256() == backbones("vit").weights_sha256()
        assert backbone.preprocess.mean == tuple(PREPROCESS["mean"]) and backbone.preprocess.resize_mode == "squash"


def test_custom_text_takes_the_flat_layout(state, backbones):
    backbone = bb.build_backbone(
        changed(VIT, top={"custom_text": True}), PREPROCESS, architecture="custom", weights=state
    )
    texts = ["a chair", "two dogs"]
    torch.testing.assert_close(backbone.encode_text(texts), backbones("vit").encode_text(texts))


def test_preprocessing_must_be_known(architecture, tmp_path, state):
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SpaceError, match=r"preprocessing is unknown: the tags of tiny-vit do not exist.*beside"):
        bb.create(architecture, tmp_path / "w.pt")
    assert agreed_preprocess("ViT-B-32", tmp_path)["resize_mode"] == "shortest"
    for config, what in [
        ({"mean": 0.5}, "std"),
        ({**PREPROCESS, "std": [1, 2]}, "std"),
        ({**PREPROCESS, "std": 0}, "std"),
    ]:
        with pytest.raises(SpaceError, match=f"preprocessing is unknown: {what}"):
            bb.build_backbone(VIT, config, architecture="x", weights=state)
    for key in ("interpolation", "resize_mode"):
        with pytest.raises(SpaceError, match=f"preprocessing is unknown: {key} is 'magic'"):
            bb.build_backbone(VIT, {**PREPROCESS, key: "magic"}, architecture="x", weights=state)


@pytest.mark.parametrize("name", ["ViT-B-32/openai", "RN50/openai", "RN101/yfcc15m", "ViT-L-14/dfn2b"])
def test_quick_gelu_mismatch_of_a_tag(name):
    architecture, tag = name.split("/")
    with pytest.raises(SpaceError, match=f"QuickGELU mismatch.*trained with QuickGELU.*take {architecture}-quickgelu"):
        bb.create(architecture, tag)


def test_quick_gelu_mismatch_of_a_file(architecture, tmp_path, state):
    torch.save(state, tmp_path / "vit-quickgelu-best.pt")
    with pytest.raises(SpaceError, match=r"QuickGELU mismatch.*take tiny-vit-quickgelu"):
        bb.create(architecture, tmp_path / "vit-quickgelu-best.pt")
    numbers = {name: torch.tensor(77) for name in build.OPENAI_KEYS}
    torch.save({**state, **numbers}, tmp_path / "ViT.pt")
    with pytest.raises(SpaceError, match=r"QuickGELU mismatch.*take tiny-vit-quickgelu"):
        bb.create(architecture, tmp_path / "ViT.pt")
    (tmp_path / bb.CONFIG).write_text(json.dumps({"model_cfg": VIT, "preprocess_cfg": PREPROCESS}))
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SpaceError, match=r"QuickGELU mismatch.*without QuickGELU.*take tiny-vit$"):
        bb.create("tiny-vit-quickgelu", tmp_path / "w.pt")
    assert bb.create("tiny-vit", tmp_path / "w.pt")


def test_quick_gelu_of_a_known_file(tmp_path):
    assert recorded_quick_gelu(tmp_path / "rn50-quickgelu-yfcc15m-455df137.pt", {}) is True
    assert recorded_quick_gelu(tmp_path / "vit_b_16_plus_240-laion400m_e31-8fb26589.pt", {}) is False
    cached = (
        tmp_path / "models--timm--vit_base_patch32_clip_224.openai" / "snapshots" / "1" / "open_clip_model.safetensors"
    )
    assert recorded_quick_gelu(cached, {}) is True
    assert recorded_quick_gelu(tmp_path / "w.pt", {}) is None


def test_unknown_names(architecture):
    with pytest.raises(SpaceError, match=r"no architecture 'ViT-B-33'; did you mean.*ViT-B-32"):
        bb.create("ViT-B-33", "openai")
    with pytest.raises(SpaceError, match=r"'opanai' is neither a weights file nor a pretrained tag of RN50.*openai"):
        bb.create("RN50", "opanai")
    with pytest.raises(SpaceError, match="knows no tags"):
        bb.create(architecture, "missing.pt")


def test_folders(folder, state, backbones):
    with pytest.raises(SpaceError, match="holds no weights"):
        bb.create_from_folder(folder)
    torch.save(state, folder / "a.pt")
    assert bb.create_from_folder(folder).weights_sha256() == backbones("vit").weights_sha256()
    torch.save(state, folder / "b.pt")
    with pytest.raises(SpaceError, match=r"several weights files: a\.pt, b\.pt"):
        bb.create_from_folder(folder)
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    assert bb.create_from_folder(folder)
    (folder / bb.CONFIG).write_text(json.dumps({"model_cfg": VIT}))
    with pytest.raises(SpaceError, match="preprocessing is unknown: no preprocess_cfg"):
        bb.create_from_folder(folder)
    for text, what in [
        ("{", "cannot be read"),
        ("[]", "no model_cfg"),
        ('{"model_cfg": {"embed_dim": 1}}', "missing in model_cfg: text_cfg"),
    ]:
        (folder / bb.CONFIG).write_text(text)
        with pytest.raises(SpaceError, match=what):
            bb.create_from_folder(folder)


def test_a_folder_must_carry_its_hub_tokenizer(folder, state):
    config = {"model_cfg": changed(VIT, text={"hf_tokenizer_name": "x/y"}), "preprocess_cfg": PREPROCESS}
    (folder / bb.CONFIG).write_text(json.dumps(config))
    torch.save(state, folder / "a.pt")
    with pytest.raises(SpaceError, match="tokenizer files are missing"):
        bb.create_from_folder(folder)


def test_hub_models(folder, state, monkeypatch, backbones):
    torch.save(state, folder / hub.WEIGHT_FILES[1])
    files = {name: folder / name for name in (bb.CONFIG, hub.WEIGHT_FILES[1])}
    monkeypatch.setattr(build, "fetch", lambda repository, names: next(files[n] for n in names if n in files))
    assert bb.create_from_hub("org/model").weights_sha256() == backbones("vit").weights_sha256()


def test_what_goes_wrong_online_is_said(monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: True)
    with pytest.raises(SpaceError, match=r"cannot fetch org/model: disk full"), hub.fetching("org/model"):
        raise OSError("disk full")


def test_offline(monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: False)
    for fetch in (lambda: bb.create_from_hub("org/model"), lambda: bb.create("ViT-B-32-quickgelu", "openai")):
        with pytest.raises(SpaceError, match=r"offline, or the hub cannot be reached.*lite.*local folder"):
            fetch()


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_weights_that_cannot_be_had(tmp_path, state, recwarn):
    def refuse(path, what):
        with pytest.raises(SpaceError, match=what):
            bb.read_weights(path)

    refuse(tmp_path / "no.pt", "weights are missing")
    for name in ("empty.pt", "empty.safetensors"):
        (tmp_path / name).touch()
        refuse(tmp_path / name, "cannot be read")
    torch.save(state, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:5000])
    refuse(tmp_path / "cut.pt", "cannot be read")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Payload()))
    refuse(tmp_path / "evil.pt", "cannot be read")
    torch.save({"state_dict": Payload()}, tmp_path / "evil2.pt")
    refuse(tmp_path / "evil2.pt", "cannot be read")
    torch.save({"epoch": 3}, tmp_path / "log.pt")
    refuse(tmp_path / "log.pt", "holds no state dict")
    torch.save([1, 2], tmp_path / "list.pt")
    refuse(tmp_path / "list.pt", "holds no state dict")
    with zipfile.ZipFile(tmp_path / "jit.pt", "w") as archive:  # what makes torch call an archive TorchScript
        archive.writestr("jit/constants.pkl", pickle.dumps(()))
        archive.writestr("jit/data.pkl", pickle.dumps(()))
        archive.writestr("jit/version", "3\n")
    refuse(tmp_path / "jit.pt", "TorchScript archive.*ViT-B-32-quickgelu/openai")


def test_weights_that_do_not_fit(architecture, folder, state):
    torch.save({k: v for k, v in state.items() if k != "visual.proj"}, folder / "less.pt")
    torch.save({**state, "extra": torch.ones(1)}, folder / "more.pt")
    torch.save({**state, "visual.positional_embedding": torch.zeros(10, 64)}, folder / "larger.pt")
    for name, what in [
        ("less.pt", "Missing.*visual.proj"),
        ("more.pt", "Unexpected.*extra"),
        ("larger.pt", "size mismatch"),
    ]:
        with pytest.raises(SpaceError, match=f"do not fit the architecture: .*{what}"):
            bb.create(architecture, folder / name)
    with pytest.raises(SpaceError, match="do not fit"):
        bb.create("tiny-resnet", folder / "less.pt")


def test_malformed_architectures():
    for config in (
        {"embed_dim": 32, "vision_cfg": {}, "text_cfg": {"no_such": 1}},
        changed(VIT, patch_size=0),
        changed(VIT, timm_model_name="no_such_model"),
    ):
        with pytest.raises(SpaceError, match="cannot build this model_cfg"):
            bb.build_model(config)


def test_tags_are_only_those_that_load():
    tags = bb.pretrained_tags()
    assert ("ViT-B-32-quickgelu", "openai") in tags and ("ViT-B-32", "openai") not in tags
    assert ("ViT-B-32", "laion2b_s34b_b79k") in tags


# Full size, random weights --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["RN50", "RN101", "ViT-B-32", "ViT-B-16", "ViT-B-16-SigLIP"])
def test_full_size(architecture):
    backbone = bb.random_backbone(bb.model_config(architecture), None, architecture, 0)
    x = noise(backbone, n=1)
    with torch.no_grad():
        assert backbone.self_test(x, tolerance=1e-5)
        cells = 224 // backbone.stride[0]
        assert backbone.dense(x).shape == (1, backbone.dim, cells, cells)
        assert F.normalize(backbone.encode_image(x)).isfinite().all()
        if architecture.startswith("RN"):
            shapes = [tuple(stage.shape[1:]) for stage in backbone.stages(x).values()]
            assert shapes == [(64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


def test_towers_in_training_are_open_clips_own(tiny_space):
    from clipx.backbone import any_size_image_features, require_trainable, short_text_features

    model = tiny_space.backbone.model
    require_trainable(model)
    tokens = tiny_space.backbone.tokenizer(["a chair", "a photo of a much longer thing in the room", "x"])
    pixels = torch.rand(2, 3, *tiny_space.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(short_text_features(model, tokens), model.encode_text(tokens))
        torch.testing.assert_close(any_size_image_features(model.visual, pixels), model.encode_image(pixels))
        assert any_size_image_features(model.visual, torch.rand(2, 3, 96, 128)).shape == (2, tiny_space.dim)


def test_towers_that_the_trainer_does_not_know_are_refused(tiny_vit_space):
    from clipx.backbone import require_trainable

    require_trainable(tiny_vit_space.backbone.model)
    pooled = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "attentional_pool": True}}
    with pytest.raises(InputError, match="ModifiedResNet"):
        require_trainable(bb.build_model(pooled))
