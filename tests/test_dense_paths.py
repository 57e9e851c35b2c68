"""Each dense path against a transcription of its paper's formulas, loop by loop in NumPy, on small random towers."""

import math

import numpy as np
import pytest
import torch
from conftest import PREPROCESS, RESNET, TEXT, VIT

from clipx import backbone as bb
from clipx.backbone.towers.paths import DENSE_PATHS, SelfCalibrated, _cosines, local_outlier_factor
from clipx.dense import dense_logits
from clipx.errors import InputError, SpaceError, UnsupportedError
from clipx.space import random_space


def vit(**vision):
    return {**VIT, "vision_cfg": {**VIT["vision_cfg"], **vision}}


def timm(name="test_vit", pool="token", proj="linear", dim=32, **vision):
    vision = {"timm_model_name": name, "timm_pool": pool, "timm_proj": proj, "image_size": [96, 128], **vision}
    return {"embed_dim": dim, "custom_text": True, "vision_cfg": vision, "text_cfg": TEXT}


TOWERS = {
    "vit": VIT,
    "vit-deep": vit(layers=12, width=32, head_width=16),  # as deep as the blocks that SC-CLIP names
    "vit-layer-scale": vit(ls_init_value=0.3),
    "timm": timm(),
    "timm-norms": timm(),  # of queries and keys, put in below
    "timm-register": timm("test_vit2", "avg"),  # layer scale; no class token
    "resnet": RESNET,
}
VITS = tuple(DENSE_PATHS)
POOL = ("value", "sclip", "clearclip", "naclip")
PATHS = {"resnet": POOL, "timm-register": tuple(name for name in VITS if name != "sc-clip")}
CASES = [(tower, path) for tower in TOWERS for path in PATHS.get(tower, VITS)]


@pytest.fixture(scope="module")
def backbones():
    made = {}

    def get(name):
        if name not in made:
            made[name] = bb.random_backbone(TOWERS[name], PREPROCESS, name, seed=0)
            if name == "timm-norms":
                for block in made[name].model.visual.trunk.blocks:
                    width = block.attn.head_dim
                    block.attn.q_norm, block.attn.k_norm = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
                bb.freeze(made[name].model)
            generator = torch.Generator().manual_seed(1)
            for norm_or_bias in made[name].model.visual.parameters():  # biases of zero would hide a wrong one
                if norm_or_bias.ndim == 1:
                    norm_or_bias.data += 0.1 * torch.randn(norm_or_bias.shape, generator=generator)
        return made[name]

    return get


def noise(size, n=2, seed=0):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))


# The transcription: one picture, NumPy, loops over heads and tokens ---------------------------------------------------


def array(t):
    return t.detach().double().numpy()


def softmax(row):
    e = np.exp(row - row[np.isfinite(row)].max())
    return e / e.sum()


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def rows(module, x):
    """A module on tokens (L, C), as an array."""
    return array(module(torch.from_numpy(x).float()[None])[0])


class Plain:
    """Weights of the last attention as arrays."""

    def __init__(self, wq, wk, wv, bq, bk, bv, heads, out, norms=(None, None)):
        self.w, self.b, self.heads, self.out, self.norms = (wq, wk, wv), (bq, bk, bv), heads, out, norms

    def part(self, i, y):
        """(L, C) -> (heads, L, d)."""
        x = y @ array(self.w[i]).T
        x = x if self.b[i] is None else x + array(self.b[i])
        split = np.stack(np.split(x, self.heads, axis=1))
        if i < 2 and self.norms[i] is not None:
            split = array(self.norms[i](torch.from_numpy(split).float()))
        return split

    def mixed(self, y, weights_of, values_of=None):
        """Head by head and token by token; ``weights_of(q, k, i)`` are the weights of token i over all."""
        q, k = self.part(0, y), self.part(1, y)
        v = self.part(2, y if values_of is None else values_of)
        found = np.zeros((len(y), self.heads * v.shape[-1]))
        for head in range(self.heads):
            for i in range(len(y)):
                weights = weights_of(q[head], k[head], i)
                d = v.shape[-1]
                found[i, head * d : (head + 1) * d] = sum(w * v[head, j] for j, w in enumerate(weights))
        return rows(self.out, found)


def sclip(q, k, i):
    scale = 1 / math.sqrt(q.shape[1])
    return softmax(np.array([q[i] @ row * scale for row in q])) + softmax(np.array([k[i] @ row * scale for row in k]))


def clearclip(q, k, i):
    return softmax(np.array([q[i] @ row for row in q]) / math.sqrt(q.shape[1]))


def value(q, k, i):
    return np.eye(len(q))[i]


def naclip(grid, prefix):
    def weights(q, k, i):
        scores = np.zeros(len(k))
        for j in range(len(k)):
            scores[j] = k[i] @ k[j] / math.sqrt(k.shape[1])
            if i >= prefix and j >= prefix:
                (r, c), (s, d) = divmod(i - prefix, grid[1]), divmod(j - prefix, grid[1])
                scores[j] += math.exp(-((r - s) ** 2 + (c - d) ** 2) / (2 * 5**2))
        return softmax(scores)

    return weights


def outliers_of(x):
    """Indices by local outlier factors of 30 neighbours, the 5 % quantile as scikit-learn takes it."""
    far = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    count = min(30, len(x) - 1)
    near = [[j for j in np.argsort(far[i], kind="stable") if j != i][:count] for i in range(len(x))]
    reach_of = [far[i][near[i][-1]] for i in range(len(x))]
    density = [1 / (np.mean([max(far[i][j], reach_of[j]) for j in near[i]]) + 1e-10) for i in range(len(x))]
    factor = np.array([np.mean([density[j] for j in near[i]]) / density[i] for i in range(len(x))])
    return {int(i) for i in np.flatnonzero(factor > np.quantile(factor, 0.95))}


def replaced(x, outliers, grid):
    found = x.copy()
    for i in outliers:
        r, c = divmod(i, grid[1])
        around = [(r + a, c + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
        around = [s * grid[1] + d for s, d in around if 0 <= s < grid[0] and 0 <= d < grid[1]]
        around = [j for j in around if j not in outliers]
        if around:
            found[i] = np.mean([x[j] for j in around], axis=0)
    return found


def aggregated(x, similar):
    kept = np.where(similar < 0.4, 0, similar)
    return np.stack([row @ x / (row.sum() + 1e-6) for row in kept])


def sc_clip(tokens, plain, norm, grid, prefix):
    def after(block):  # tokens[0] stands before the first block, tokens[b] after block b
        return tokens[min(max(1, round(block * len(tokens) / 12)), len(tokens) - 1)]

    def cosines(x):
        return np.array([[cosine(a, b) for b in x] for a in x])

    patches, class_token = tokens[-1][prefix:], tokens[-1][0]
    outliers = outliers_of(patches)
    middle = cosines(replaced(after(9)[prefix:], outliers, grid))

    def weights(q, k, i):
        excess = np.array([3 * (middle[i, j] - middle.mean()) for j in range(len(k))])
        excess[excess < 0] = -np.inf
        return (softmax(excess) + softmax(np.array([k[i] @ row for row in k]) / math.sqrt(k.shape[1]))) / 2

    x = aggregated(replaced(patches, outliers, grid), middle)
    early = cosines(after(4)[prefix:])
    x = aggregated(plain.mixed(rows(norm, x), weights) + 0.3 * class_token, early)
    low, high = (min(max(1, round(b * len(tokens) / 12)), len(tokens) - 1) for b in (4, 10))
    fused = sum(tokens[b] for b in range(low, high + 1))
    return x + aggregated(plain.mixed(rows(norm, fused[prefix:]), weights) + 0.3 * fused[0], early)


def transcribed(backbone, path, x):
    """(3, H, W) -> (D, h, w)."""
    visual = backbone.model.visual
    grid = x.shape[-2] // backbone.stride[0], x.shape[-1] // backbone.stride[1]
    if hasattr(visual, "attnpool"):
        return _under_pool(backbone, visual, path, x, grid).T.reshape(-1, *grid)
    if hasattr(visual, "trunk"):
        trunk, block = visual.trunk, visual.trunk.blocks[-1]
        own, attn, prefix = trunk.blocks, block.attn, trunk.num_prefix_tokens
        w = attn.qkv.weight.chunk(3)
        b = (None,) * 3 if attn.qkv.bias is None else attn.qkv.bias.chunk(3)
        plain = Plain(*w, *b, attn.num_heads, lambda m: block.ls1(attn.proj(m)), (attn.q_norm, attn.k_norm))
        norm, feed = block.norm1, lambda m: block.ls2(block.mlp(block.norm2(m)))

        def end(m):
            return visual.head(trunk.head(trunk.fc_norm(trunk.norm(m))))
    else:
        block, prefix = visual.transformer.resblocks[-1], 1
        own, attn = visual.transformer.resblocks, block.attn
        w, b = attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3)
        plain = Plain(*w, *b, attn.num_heads, lambda m: block.ls_1(attn.out_proj(m)))
        norm, feed = block.ln_1, lambda m: block.ls_2(block.mlp(block.ln_2(m)))

        def end(m):
            return visual.ln_post(m) @ visual.proj

    tokens = tokens_of(backbone, own, x)
    before, last = tokens[-2], tokens[-1]
    if path == "token":
        found = last[prefix:]
    elif path == "sc-clip":
        found = sc_clip(tokens[:-1], plain, norm, grid, prefix)
    else:
        weights = {"value": value, "sclip": sclip, "clearclip": clearclip, "naclip": naclip(grid, prefix)}[path]
        found = plain.mixed(rows(norm, before), weights)
        if path in ("value", "sclip"):
            found = before + found
            found = found + rows(feed, found)
        found = found[prefix:]
    return rows(end, found).T.reshape(-1, *grid)


def tokens_of(backbone, blocks, x):
    """Before the first block and after each, out of the model's own pass (positions of another size set in)."""
    seen = []
    hooks = [blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))]
    hooks += [block.register_forward_hook(lambda _, args, out: seen.append(out)) for block in blocks]
    try:
        with torch.no_grad():
            backbone.stages(x[None])
    finally:
        for hook in hooks:
            hook.remove()
    return [array(t[0]) for t in seen]


def _under_pool(backbone, visual, path, x, grid):
    pool = visual.attnpool
    with torch.no_grad():
        places = array(backbone.stages(x[None])["layer4"][0].flatten(1).T)
    side = backbone.preprocess.size[0] // 32
    positions = bb.towers.resize_positions(pool.positional_embedding, (side, side), grid)[1:]
    plain = Plain(
        pool.q_proj.weight, pool.k_proj.weight, pool.v_proj.weight,
        pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias, pool.num_heads, pool.c_proj,
    )  # fmt: skip
    weights = {"value": value, "sclip": sclip, "clearclip": clearclip, "naclip": naclip(grid, 0)}[path]
    return plain.mixed(places + array(positions), weights, values_of=places)


@pytest.mark.parametrize(
    ("tower", "path", "size"),
    [(*case, "own") for case in CASES]  # timm's, of one size, is no square
    + [(*case, "other") for case in CASES if not case[0].startswith("timm")],
)
def test_path_is_the_papers_formula(backbones, tower, path, size):
    backbone = backbones(tower)
    own = backbone.preprocess.size
    shape = own if size == "own" else (backbone.stride[0] * 3, backbone.stride[1] * 5)
    x = noise(shape)
    found = backbone.dense(x, path)
    for i in range(2):  # each picture by itself: nothing reaches across a batch
        expected = torch.from_numpy(transcribed(backbone, path, x[i])).float()
        torch.testing.assert_close(found[i], expected, atol=2e-4 * float(expected.abs().max()), rtol=1e-3)


def test_paths_differ(backbones):
    """Else the test above would pass with one path for all."""
    backbone = backbones("vit-deep")
    x = noise(backbone.preprocess.size)
    maps = [backbone.dense(x, path) for path in VITS]
    for i, one in enumerate(maps):
        for other in maps[:i]:
            assert (one - other).abs().max() > 1e-2 * one.abs().max()


@pytest.mark.parametrize(("tower", "path"), CASES)
def test_gradients_reach_the_pixels(backbones, tower, path):
    backbone = backbones(tower)
    x = noise(backbone.preprocess.size, n=1).requires_grad_()
    backbone.dense(x, path).square().sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().max() > 0


@pytest.mark.parametrize("tower", TOWERS)
def test_self_test_puts_the_last_attention_together(backbones, tower, monkeypatch):
    """A last block of the wrong parts is noticed by the model's own pass."""
    backbone = backbones(tower)
    x = noise(backbone.preprocess.size)
    what = "attention among places" if tower == "resnet" else "last block by its parts"
    assert backbone.self_test(x, tolerance=1e-5)[what] < 1e-5
    layer = backbone.tower._parts((2, 2)) if tower == "resnet" else backbone.tower._last().attention
    swapped = type(layer)(layer.query, lambda y: 1.1 * layer.key(y), lambda y: 1.1 * layer.value(y), layer.out)
    if tower == "resnet":
        monkeypatch.setattr(backbone.tower, "_parts", lambda grid: swapped)
    else:
        last = backbone.tower._last()
        last = type(last)(swapped, last.norm, last.feed_forward, last.whole, last.prefix)
        monkeypatch.setattr(backbone.tower, "_last", lambda: last)
    with pytest.raises(SpaceError, match=what):
        backbone.self_test(x)


@pytest.mark.parametrize("tower", TOWERS)
def test_keys(backbones, tower):
    """Those of the last attention, of the patches alone."""
    backbone = backbones(tower)
    x = noise(backbone.preprocess.size, n=1)
    grid = tuple(n // s for n, s in zip(x.shape[-2:], backbone.stride, strict=True))
    keys = backbone.keys(x)
    assert keys.shape[0] == 1 and keys.shape[2:] == grid
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(q, k, v, **options):
        seen.append(k)
        return attend(q, k, v, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
        backbone.dense(x, "naclip")
    (theirs,) = seen[-1:]
    theirs = theirs[:, :, theirs.shape[2] - grid[0] * grid[1] :].transpose(1, 2).flatten(2).mT
    torch.testing.assert_close(keys.flatten(2), theirs, atol=1e-5, rtol=1e-4)


# Names and towers -----------------------------------------------------------------------------------------------------


def test_maskclip_is_the_value_path(tiny_vit_space):
    x = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tiny_vit_space.dense_image(x, path="maskclip"), tiny_vit_space.dense_image(x))
    assert tiny_vit_space.dense_paths == VITS


def test_names_reach_the_logits(tiny_vit_space, tiny_space):
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for space in (tiny_vit_space, tiny_space):
        labels = space.embed_text(["a chair", "a dog"])
        for path in space.dense_paths:
            logits = dense_logits(space, x, labels, path=path)
            cells = torch.einsum("ndhw,kd->nkhw", space.dense_image(x, path=path), torch.from_numpy(labels.vectors))
            expected = torch.nn.functional.interpolate(space.logit_scale * cells, (64, 96), mode="bilinear")
            torch.testing.assert_close(logits, expected)


def test_keys_image(tiny_vit_space):
    x = torch.rand(2, 3, 30, 42, generator=torch.Generator().manual_seed(0))
    assert tiny_vit_space.keys_image(x).shape == (2, 64, 4, 5)
    assert tiny_vit_space.supports("keys")


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (RESNET, POOL),
        (timm(pool="map", proj="none", dim=64), ("value",)),
        (timm("test_convnext", "avg", image_size=160), ()),
        (timm("test_efficientnet", "avg", image_size=160), ("value",)),
        (vit(layers=1), tuple(p for p in VITS if p != "sc-clip")),
        (vit(block_type="custom", qk_norm=True), ("token",)),
    ],
)
def test_unsupported_paths_are_refused_in_one_line(config, paths):
    space = random_space(config, preprocess_cfg=PREPROCESS)
    x = torch.rand(1, 3, *space.image_size)
    assert space.dense_paths == paths
    for path in (*VITS, "maskclip"):
        name = "value" if path == "maskclip" else path
        if name in paths:
            assert torch.isfinite(space.dense_image(x, path=path)).all()
            continue
        with pytest.raises(UnsupportedError) as caught:
            space.dense_image(x, path=path)
        assert "\n" not in str(caught.value) and "; " in str(caught.value)
        if paths and path not in ("value", "maskclip", "token"):
            assert path in str(caught.value) or "no dense" in str(caught.value)
            assert paths[0] in str(caught.value) or "tokens" in str(caught.value)


def test_unknown_path_is_refused(tiny_vit_space):
    with pytest.raises(InputError, match="no dense path 'clip-surgery'; one of value, token, sclip"):
        tiny_vit_space.dense_image(torch.rand(1, 3, 32, 32), path="clip-surgery")


def test_towers_without_keys_are_refused():
    space = random_space(timm("test_convnext", "avg", image_size=160))
    with pytest.raises(UnsupportedError, match="has no keys"):
        space.keys_image(torch.rand(1, 3, 160, 160))


@pytest.mark.parametrize("path", VITS)
def test_smallest_pictures(tiny_vit_space, path):
    """One patch, one row, one column: no neighbour, no outlier, no NaN."""
    for size in ((1, 1), (8, 40), (40, 8)):
        found = tiny_vit_space.dense_image(torch.rand(2, 3, *size), path=path)
        assert torch.isfinite(found).all()


def test_local_outlier_factor_finds_the_point_apart():
    x = torch.randn(1, 40, 3, generator=torch.Generator().manual_seed(0)) / 10
    x[0, 7] = 5
    factor = local_outlier_factor(x, 30)
    assert factor.argmax() == 7 and factor[0, 7] > 5 and factor[0].median() < 1.2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tokens_that_are_nearly_the_same_have_weights(dtype):
    """Rounding leaves rows of cosines that are all below their mean: SC-CLIP's softmax must not be of nothing."""
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(1, 1, 64, generator=generator) + 1e-3 * torch.randn(1, 49, 64, generator=generator)
        weights = SelfCalibrated().weights(_cosines(x.to(dtype)))
        torch.testing.assert_close(weights.sum(-1), torch.ones(1, 49))
