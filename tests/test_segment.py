"""Segmentation by words: the formula, the result at any size, sets of masks, figures, pictures."""

import dataclasses
import io
import itertools
import json

import numpy as np
import pytest
import torch
from conftest import VIT
from PIL import Image
from torch.nn import functional as F

from clipx.errors import FileError, InputError, UnsupportedError
from clipx.index.vocabulary import everyday_nouns
from clipx.modalities.segment import Segmentation, SegmentConfig, Segmenter, read_masks, segment
from clipx.modalities.segment.evaluate import (
    Judged,
    all_background,
    by_words,
    chance,
    judge,
    kmeans_oracle,
    one_label,
    words_of,
)
from clipx.modalities.segment.maps import without_islands
from clipx.modalities.segment.metrics import Confusion, boundary_f
from clipx.modalities.segment.show import cutout_png, mask_png, overlay_png, palette
from clipx.modalities.segment.task import SegmentTask
from clipx.space import random_space

PLAIN = {"refine": "none", "denoise": 0.0, "islands": 0.0}


def photo(h=64, w=96, seed=0):
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(seed))


def config(labels=("cat", "dog"), **changes):
    return SegmentConfig(labels=tuple(labels), **(PLAIN | changes))


@pytest.fixture(params=["tiny_space", "tiny_vit_space"])
def space(request):
    return request.getfixturevalue(request.param)


def cells_of(space, words, path, side):
    """Cosines of a 64 x 96 photo's cells with "a photo of ..." averaged over the photo prompts, (K, h, w)."""
    from clipx.zeroshot import ZeroShotClassifier

    pixels = space.preprocess.sample(photo()[None], (side, side * 3 // 2)).clamp(0, 1)
    weights = torch.from_numpy(ZeroShotClassifier(space, words, "photo").weights.vectors)
    return torch.einsum("dhw,kd->khw", space.dense_image(pixels, path=path)[0], weights)


# The formula ----------------------------------------------------------------------------------------------------------


def test_words_compete_with_the_background(space):
    """The definition: a label is the best of its words, the background the best of its own."""
    found = Segmenter(space, config(["cat|kitten", "dog"], background=("wall", "floor"), side=40, path="value"))(
        photo()
    )
    cat, kitten, dog, wall, floor = cells_of(space, ["cat", "kitten", "dog", "wall", "floor"], "value", 40)
    expected = torch.stack([torch.maximum(wall, floor), torch.maximum(cat, kitten), dog]) * space.logit_scale
    expected = F.interpolate(expected[None], (10, 15), mode="bilinear")[0]
    torch.testing.assert_close(found.logits, expected, rtol=1e-4, atol=1e-4)
    assert found.labels == ("cat", "dog") and found.size == (64, 96)


def test_the_level_of_unrelated_words(tiny_vit_space):
    """background=auto: mean + 2.5 standard deviations of the cosines of 300 everyday nouns."""
    found = Segmenter(tiny_vit_space, config(side=40, path="value"))(photo())
    known = everyday_nouns()
    nouns = [known[round(i * (len(known) - 1) / 299)] for i in range(300)]  # from the first to the last, evenly
    assert (nouns[0], nouns[-1], len(set(nouns))) == (known[0], known[-1], 300)
    vectors = torch.from_numpy(tiny_vit_space.encode_text([f"a photo of a {noun}." for noun in nouns]))
    pixels = tiny_vit_space.preprocess.sample(photo()[None], (40, 60)).clamp(0, 1)
    null = torch.einsum("dhw,kd->khw", tiny_vit_space.dense_image(pixels)[0], vectors)
    level = (null.mean(0) + 2.5 * null.std(0, correction=0)) * tiny_vit_space.logit_scale
    level = F.interpolate(level[None, None], (10, 15), mode="bilinear")[0, 0]
    torch.testing.assert_close(found.logits[0], level, rtol=1e-4, atol=1e-3)


def test_words_add_to_the_level_of_unrelated_ones(tiny_vit_space):
    """background=auto,wall: the higher of both."""
    many = tuple(everyday_nouns()[2::9])
    both, level, words = (
        Segmenter(tiny_vit_space, config(background=given, side=32))(photo()).logits
        for given in (("auto", *many), ("auto",), many)
    )
    assert (both[0] >= torch.maximum(level[0], words[0]) - 1e-4).all(), "enlarging a maximum"
    assert (both[0] - level[0]).abs().max() > 1e-3 and (both[0] - words[0]).abs().max() > 1e-3
    torch.testing.assert_close(both[1:], level[1:])


@pytest.mark.parametrize("word", ["atuo", "Auto", "NONE"])
def test_a_misspelt_background_is_no_word(word):
    with pytest.raises(InputError, match="looks like"):
        config(background=(word,))
    assert config(background=("stone", "cone")).background == ("stone", "cone")


def test_one_label_is_not_everywhere(tiny_vit_space):
    """A softmax over one label says nothing; the level of unrelated words does."""
    with pytest.raises(InputError, match="one label and no background"):
        config(["cat"], background=("none",))
    found = Segmenter(tiny_vit_space, config(["cat"]))(photo())
    assert found.has_background and found.logits.shape[0] == 2


def test_no_background_gives_every_pixel_a_label(space):
    found = Segmenter(space, config(background=("none",), threshold=1.0))(photo())
    assert set(np.unique(found.mask)) <= {1, 2} and not found.has_background


@pytest.mark.parametrize("changes", [{"denoise": 0.5}, {"smooth_keys": 1.0, "threshold": 0.5}])
def test_no_background_stays_none(tiny_vit_space, changes):
    found = Segmenter(tiny_vit_space, config(["cat", "dog", "cup"], background=("none",), **changes))(photo())
    assert torch.isneginf(found.logits[0]).all() and not found.has_background
    assert not (found.mask == 0).any()


def test_what_is_left_out_wins_nowhere(tiny_vit_space):
    """At a low temperature logits of negative cosines are below MaskCLIP's -100."""
    segmenter = Segmenter(tiny_vit_space, config(["cat", "dog"], background=("wall",), temperature=1e-3, denoise=0.5))
    logits = torch.tensor([-150.0, -140, -170])[:, None, None].expand(3, 4, 4).clone()
    clean = segmenter._cleaned(logits, photo()[None])
    assert (clean.argmax(0) == 1).all()


def test_key_smoothing_of_towers_without_keys_or_of_one_size():
    """The first is refused before any photo is read, the second takes the photo squashed."""

    def timm(name, pool, proj, dim):
        vision = {"timm_model_name": name, "timm_pool": pool, "timm_proj": proj, "image_size": 160}
        return {"embed_dim": dim, "custom_text": True, "vision_cfg": vision, "text_cfg": VIT["text_cfg"]}

    plan = config(background=("wall",), smooth_keys=0.9)
    with pytest.raises(UnsupportedError, match="no keys"):
        Segmenter(random_space(timm("test_efficientnet", "avg", "linear", 32)), plan)
    found = Segmenter(random_space(timm("test_vit", "map", "none", 64)), plan)(photo(50, 90))
    assert found.mask.shape == (50, 90) and torch.isfinite(found.logits).all()


def test_the_threshold_leaves_the_unsure_to_the_background(space):
    masks = [Segmenter(space, config(background=("wall",), threshold=t))(photo()).mask for t in (0.0, 0.5, 0.6, 1.0)]
    shares = [float((mask > 0).mean()) for mask in masks]
    assert shares == sorted(shares, reverse=True) and shares[-1] == 0
    for lower, higher in itertools.pairwise(masks):
        kept = higher > 0
        assert (higher[kept] == lower[kept]).all()


def test_absent_labels_go_to_the_background(space):
    """MaskCLIP's denoising: what is nowhere probable is not shown, and its share is not the other labels'."""
    plain = Segmenter(space, config(["cat", "dog", "chair"], background=("wall",)))(photo())
    top = plain.logits.softmax(0).flatten(1).max(1).values[1:]
    least, between = int(top.argmin()), float(top.sort().values[:2].mean())
    clean = Segmenter(space, config(["cat", "dog", "chair"], background=("wall",), denoise=between))(photo())
    before, after = plain.logits.softmax(0), clean.logits.softmax(0)
    assert not (clean.mask == least + 1).any()
    torch.testing.assert_close(after[0], before[0] + before[least + 1], rtol=1e-4, atol=1e-5)
    others = [k for k in (1, 2, 3) if k != least + 1]
    torch.testing.assert_close(after[others], before[others], rtol=1e-4, atol=1e-5)


def test_key_smoothing_follows_keys(tiny_vit_space):
    smooth = Segmenter(tiny_vit_space, config(background=("wall",), smooth_keys=1.0))(photo())
    plain = Segmenter(tiny_vit_space, config(background=("wall",)))(photo())
    assert smooth.logits.shape == plain.logits.shape and not torch.allclose(smooth.logits, plain.logits)
    torch.testing.assert_close(smooth.logits.exp().sum(0), torch.ones(smooth.logits.shape[1:]), rtol=0.02, atol=0.02)


def test_auto_takes_the_neighbour_aware_path_of_a_transformer(tiny_vit_space, tiny_space):
    assert Segmenter(tiny_vit_space, config()).path == "naclip"
    assert Segmenter(tiny_space, config()).path == "value" and "naclip" in tiny_space.dense_paths


def test_what_cannot_be_asked(space):
    with pytest.raises(InputError, match="no labels"):
        Segmenter(space, SegmentConfig())
    for wrong in ({"labels": ("a", "a")}, {"labels": ("a", " ")}, {"labels": ("a|", "b")}, {"threshold": 1.5},
                  {"refine": "sharper"}, {"scales": ()}, {"side": 0}, {"temperature": 0.0}, {"background": ()},
                  {"labels": tuple(map(str, range(255)))}):  # fmt: skip
        with pytest.raises(InputError):
            SegmentConfig(**wrong)
    with pytest.raises(InputError, match="no such"):
        Segmenter(space, config(path="no such"))(photo())


def test_a_text_is_no_list_of_labels(space):
    """It would be read letter by letter."""
    with pytest.raises(InputError, match="labels: must be a list, got the text 'cat'"):
        segment("photo.png", "cat", space=space)
    with pytest.raises(InputError, match="background: must be a list, got the text 'none'"):
        segment("photo.png", ["cat", "dog"], space=space, background="none")
    with pytest.raises(InputError, match="no text"):
        SegmentConfig(labels=("cat", 1))
    assert SegmentConfig(labels=["cat", "dog"], background=["none"]).background == ("none",)


@pytest.mark.parametrize("labels", [("cat|kitten", "cat|tom"), ("dog", "cat|dog"), ("Cat", "cat"), ("a cat", "a_cat")])
def test_a_word_of_two_labels_is_refused(labels):
    """The first of them would win everywhere, and two labels could have one name."""
    with pytest.raises(InputError, match="given twice"):
        SegmentConfig(labels=labels)


# Any photo ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (40, 3000), (500, 20)])
@pytest.mark.parametrize("refine", ["none", "superpixels", "pamr", "guided"])
def test_photos_of_any_shape(tiny_vit_space, shape, refine):
    found = Segmenter(tiny_vit_space, config(refine=refine))(photo(*shape))
    assert found.mask.shape == found.probability.shape == shape
    assert np.isfinite(found.probability).all()


@pytest.mark.parametrize(("size", "scales"), [((100, 2000), (1.0,)), ((60, 100), (1.0, 4.0))])
def test_a_panorama_is_seen_through_windows(tiny_vit_space, size, scales):
    """No pass of the tower sees more than eight times its own area, so that attention stays bounded."""
    seen = []
    inner = tiny_vit_space.backbone.tower.dense

    def dense(x, path):
        seen.append(tuple(x.shape[-2:]))
        return inner(x, path)

    tiny_vit_space.backbone.tower.dense = dense
    try:
        Segmenter(tiny_vit_space, config(scales=scales))(photo(*size))
    finally:
        del tiny_vit_space.backbone.tower.dense
    assert len(seen) > 5 and max(h * w for h, w in seen) <= 8 * 32 * 32


def test_many_labels_do_not_fill_the_memory(tiny_vit_space):
    """Their maps at the size of what is seen are bounded; at the default size nothing changes."""
    few, many = (Segmenter(tiny_vit_space, config(everyday_nouns()[:k])) for k in (2, 250))
    large = Segmenter(tiny_vit_space, config(everyday_nouns()[:250], side=4096)).seen(torch.zeros(3, 300, 400))
    assert 251 * large[0, 0].numel() == pytest.approx(2**28, rel=0.01)
    assert many.seen(photo()).shape == few.seen(photo()).shape


def test_a_tower_of_one_size():
    """It sees windows of its own size."""
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    model = {"embed_dim": 64, "custom_text": True, "vision_cfg": vision, "text_cfg": VIT["text_cfg"]}
    space = random_space(model)
    segmenter = Segmenter(space, config(background=("wall",)))
    assert segmenter.seen(photo(50, 90)).shape == (1, 3, 160, 288)
    assert segmenter(photo(50, 90)).mask.shape == (50, 90)


def test_strips_are_the_whole(monkeypatch):
    """A large photo's mask is made part by part, and is that of the whole."""
    from clipx.modalities.segment import maps

    logits = 3 * torch.randn(4, 7, 9, generator=torch.Generator().manual_seed(0))
    whole = F.interpolate(logits[None], (50, 33), mode="bilinear")[0].softmax(0)
    expected = torch.where(whole[1:].max(0).values > whole[0], whole[1:].argmax(0) + 1, 0).numpy()
    assert (Segmentation(("a", "b", "c"), logits, (50, 33)).mask == expected).all()
    monkeypatch.setattr(maps, "STRIP_VALUES", 500)
    found = Segmentation(("a", "b", "c"), logits, (50, 33))
    assert (found.mask == expected).all()
    best = whole[1:].max(0).values.numpy()
    np.testing.assert_allclose(found.probability[expected > 0], best[expected > 0], atol=2e-3)


def test_islands_join_what_is_around_them():
    """A component of fewer pixels than the share becomes its surroundings; larger ones stay, and so does a lone one."""
    mask = np.zeros((40, 50), np.uint8)
    mask[5:15, 5:15], mask[8, 8], mask[30:32, 40:42], mask[31, 10] = 1, 2, 2, 1
    sure = np.where(mask == 0, 0.75, 0.5).astype(np.float16)
    clean, own = without_islands(mask, sure, 0.004)  # 8 pixels
    expected = np.zeros((40, 50), np.uint8)
    expected[5:15, 5:15] = 1
    assert (clean == expected).all() and (own[30:32, 40:42] == 0.75).all() and own[8, 8] == 0.5
    assert (without_islands(mask, sure, 0.0)[0] == mask).all()
    assert (without_islands(mask, sure, 1.0)[0] == mask).all()


def test_labels_that_are_nowhere_near_cost_nothing():
    """The mask is the same, and what is enlarged is as many maps as have a share in it."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(6, 7, 9, generator=generator)
    logits[[2, 4]] -= 60
    logits[5, 3, 4] = 50  # at one place alone
    found = Segmentation(tuple("abcde"), logits, (50, 33))
    enlarged = F.interpolate(logits[None], (50, 33), mode="bilinear")[0].softmax(0)
    assert found._rivals().tolist() == [0, 1, 3, 5]
    best, label = enlarged[1:].max(0)
    shown = best > enlarged[0]
    assert (found.mask == torch.where(shown, label + 1, 0).numpy()).all()
    np.testing.assert_allclose(found.probability[shown.numpy()], best[shown].numpy(), atol=2e-3)
    alone = Segmentation(("a", "b"), torch.tensor([0.0, -90, -80])[:, None, None].expand(3, 2, 2), (5, 5))
    assert alone._rivals().tolist() == [0, 2] and not alone.mask.any()


def test_where_two_winners_meet_a_third_may_win():
    """Between cells of different labels neither may be the best: what wins in no cell is not left out for that."""
    logits = torch.tensor([[-99.0, -99], [10, -90], [-90, 10], [-25, -25]])[:, None]
    assert 3 in Segmentation(("a", "b", "c"), logits, (1, 20)).mask


def test_regions():
    logits = torch.full((3, 4, 6), -5.0)
    logits[0] = 0
    logits[1, 1:3, 2:5] = 5
    cat, dog = Segmentation(("cat", "dog"), logits, (4, 6)).regions()
    assert (cat.label, cat.share, cat.box) == ("cat", 6 / 24, (2, 1, 5, 3))
    assert cat.confidence == pytest.approx(float(logits[:, 1, 2].softmax(0)[1]), abs=1e-3)
    assert (dog.share, dog.box, dog.confidence) == (0.0, None, 0.0)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def found():
    logits = torch.full((3, 20, 30), -4.0)
    logits[0] = 0
    logits[1, 5:15, 5:15] = 4
    logits[2, 5:15, 20:28] = 4
    return Segmentation(("a cat", "dog/puppy"), logits, (40, 60))


def test_the_mask_is_a_palette_png(found):
    picture = Image.open(io.BytesIO(mask_png(found)))
    assert picture.mode == "P" and picture.size == (60, 40)
    assert (np.asarray(picture) == found.mask).all() and set(np.unique(found.mask)) == {0, 1, 2}
    assert picture.getpalette()[:9] == palette(2).flatten().tolist()
    assert picture.text["label 2"] == "dog/puppy"


def test_colours_of_neighbours_differ():
    colors = palette(254).astype(int)
    assert len({tuple(color) for color in colors}) == 255
    assert min(np.abs(colors[i] - colors[i + 1]).sum() for i in range(254)) > 100


def test_a_cut_out_is_the_photo_where_the_label_is(found):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    rgba = np.asarray(Image.open(io.BytesIO(cutout_png(found, pixels, "dog/puppy"))))
    assert ((rgba[..., 3] == 255) == (found.mask == 2)).all() and set(np.unique(rgba[..., 3])) == {0, 255}
    assert (rgba[..., :3] == np.where(rgba[..., 3:] > 0, pixels, 0)).all()


def test_the_overlay_names_what_it_shows(found):
    pixels = np.full((40, 60, 3), 128, np.uint8)
    picture = np.asarray(Image.open(io.BytesIO(overlay_png(found, pixels))))
    assert picture.shape[0] > 40 and picture.shape[1] >= 240
    for value in (1, 2):
        color = palette(2)[value]
        assert (picture[40:] == color).all(2).any(), "its colour stands in the legend"
    alone = dataclasses.replace(found, logits=torch.cat([found.logits[:1], found.logits[1:] - 100]))
    assert not (np.asarray(Image.open(io.BytesIO(overlay_png(alone, pixels))))[40:] == palette(2)[1]).all(2).any()


def test_saved_files_hold_the_result(found, tmp_path, tiny_space):
    task = SegmentTask(tiny_space, SegmentConfig(labels=("a cat", "dog/puppy")))
    paths = task.save(found, tmp_path / "one", photo=photo(40, 60), cutouts=["dog/puppy"], settings={"x": 1})
    assert [path.name for path in paths] == ["one.png", "one.npz", "one-overlay.png", "one-dog-puppy.png"]
    with np.load(tmp_path / "one.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["logits"], found.logits.numpy(), atol=1e-2)
        assert arrays["labels"].tolist() == ["a cat", "dog/puppy"] and json.loads(str(arrays["settings"])) == {"x": 1}


def test_one_call(tmp_path, tiny_space):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (30, 40, 4), np.uint8), "RGBA").save(tmp_path / name)
    one = segment(tmp_path / "a.png", ["cat", "dog"], space=tiny_space)
    both = segment([tmp_path / "a.png", tmp_path / "b.png"], ["cat", "dog"], space=tiny_space)
    with Image.open(tmp_path / "a.png") as picture:
        held = segment([picture, np.asarray(picture.convert("RGB"))], ["cat", "dog"], space=tiny_space)
        assert np.array_equal(segment(picture, ["cat", "dog"], space=tiny_space).mask, one.mask)
    assert all(np.array_equal(each.mask, one.mask) for each in held)
    assert one.mask.shape == (30, 40) and len(both) == 2 and (both[1].mask == one.mask).all()


# Sets and figures -----------------------------------------------------------------------------------------------------


def write_set(folder, count=3, classes=("background", "cat", "dog"), seed=0):
    """Photos of noise, of each a mask of two boxes and a border that is ignored."""
    rng = np.random.default_rng(seed)
    (folder / "masks").mkdir(parents=True)
    rows = ["path,mask,part"]
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
        mask = np.zeros((40, 50), np.uint8)
        mask[5:20, 5:25], mask[25:35, 20:45], mask[4, :] = 1, 2, 255
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
        rows.append(f"{i}.png,masks/{i}.png,{'even' if i % 2 == 0 else 'odd'}")
    (folder / "labels.csv").write_text("\n".join(rows))
    (folder / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(classes)) + "255 ignore\n")
    return folder


def test_a_table_of_masks(tmp_path):
    data = read_masks(write_set(tmp_path / "set"), [("part", "even")])
    assert (data.name, len(data.photos), data.classes) == ("set", 2, ("background", "cat", "dog"))
    assert data.background == 0 and data.photos[0].truth()[4, 0] == 255
    with pytest.raises(InputError, match="no rows"):
        read_masks(tmp_path / "set", [("part", "none")])
    with pytest.raises(FileError, match="has no column"):
        read_masks(tmp_path / "set", [("colour", "red")])


def test_a_voc_folder(tmp_path):
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (5, 4)).save(tmp_path / "JPEGImages" / "x.jpg")
    picture = Image.fromarray(np.full((4, 5), 15, np.uint8), "P")
    picture.putpalette(palette(20).tobytes())
    picture.save(tmp_path / "SegmentationClass" / "x.png")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("x\n")
    data = read_masks(tmp_path)
    assert data.classes[15] == "person" and (data.photos[0].truth() == 15).all()
    assert words_of(data.classes, data.background)[10] == "dining table|table"


def test_a_list_that_a_voc_folder_does_not_have(tmp_path):
    """Not all photos in its place: those to train on would be judged."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    for stem in "ab":
        Image.new("RGB", (5, 4)).save(tmp_path / "JPEGImages" / f"{stem}.jpg")
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "SegmentationClass" / f"{stem}.png")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n")
    with pytest.raises(FileError, match=r"no such list; --split train"):
        read_masks(tmp_path)
    assert [one.name for one in read_masks(tmp_path, [("half", "1")], "train").photos] == ["JPEGImages/b.jpg"]
    with pytest.raises(InputError, match="has no column set"):
        read_masks(tmp_path, [("set", "voc")], "train")


def test_coco_annotations(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "x.png")
    square = [2, 2, 8, 2, 8, 8, 2, 8]
    found = {
        "images": [{"id": 7, "file_name": "x.png", "width": 20, "height": 10}],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 3, "name": "car"}],
        "annotations": [
            {
                "image_id": 7,
                "category_id": 44,
                "segmentation": [[4, 4, 6, 4, 6, 6, 4, 6]],
                "area": 4,
                "bbox": [4, 4, 2, 2],
            },
            {"image_id": 7, "category_id": 3, "segmentation": [square], "area": 36, "bbox": [2, 2, 6, 6]},
            {
                "image_id": 7,
                "category_id": 3,
                "segmentation": {"counts": []},
                "area": 9,
                "bbox": [12, 0, 4, 4],
                "iscrowd": 1,
            },
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(found))
    data = read_masks(tmp_path / "instances.json")
    truth = data.photos[0].truth()
    assert data.classes == ("background", "car", "bottle") and truth.shape == (10, 20)
    assert truth[5, 5] == 2 and truth[2, 7] == 1 and truth[0, 0] == 0 and truth[1, 13] == 255
    found["annotations"][2]["iscrowd"] = 0
    (tmp_path / "instances.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="is no polygon"):
        read_masks(tmp_path / "instances.json")
    found["categories"] = [{"id": k, "name": str(k)} for k in range(255)]
    found["annotations"] = found["annotations"][:2]
    (tmp_path / "instances.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="255 categories, a mask has 254"):
        read_masks(tmp_path / "instances.json")
    (tmp_path / "instances.json").write_text('{"images": []}')
    with pytest.raises(FileError, match="no COCO instances file"):
        read_masks(tmp_path / "instances.json")


def test_iou_of_a_known_table():
    """Two classes: 6 of 8 pixels right."""
    table = Confusion(3)
    table.add(np.array([[0, 0, 1, 1], [0, 1, 1, 1]]), np.array([[0, 0, 0, 1], [0, 0, 1, 1]]))
    np.testing.assert_allclose(table.per_class, [3 / 5, 3 / 5, np.nan])
    assert table.miou == pytest.approx(0.6) and table.figures()["pixel_accuracy"] == 6 / 8
    table.add(np.array([[2]]), np.array([[255]]))  # ignored
    assert table.miou == pytest.approx(0.6)
    table.add(np.array([[2]]), np.array([[0]]))  # a class that is not there is found
    assert table.miou == pytest.approx((3 / 6 + 3 / 5 + 0) / 3) and table.miou_of(range(3)) == pytest.approx(0.55)


def test_boundaries():
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = True
    assert boundary_f(mask, mask) == 1
    assert boundary_f(np.roll(mask, 1, 0), mask) == 1, "within the tolerance of 1.06 pixels"
    assert 0.3 < boundary_f(np.roll(mask, 5, 0), mask) < 0.8, "two of four sides are far"
    assert boundary_f(~mask & False, mask) == 0 and boundary_f(~mask & False, mask & False) == 1


def test_a_boundary_behind_a_band_that_is_not_judged():
    """VOC puts a band of 255 along each boundary: it must not hide it."""
    truth = np.zeros((60, 60), np.uint8)
    truth[20:40, 20:40] = 1
    banded = truth.copy()
    banded[18:22, 18:42] = banded[38:42, 18:42] = banded[18:42, 18:22] = banded[18:42, 38:42] = 255
    for predicted, least, most in ((truth, 0.9, 1), (np.roll(truth, 8, 1), 0, 0.7)):
        table = Confusion(2)
        table.add(predicted, banded)
        assert least <= table.figures()["boundary_f"] <= most


def test_shuffled_words_exchange_columns(tmp_path, tiny_space):
    """What the shortcut says is what a run with the words exchanged would."""
    data = read_masks(write_set(tmp_path / "set"))
    ways = {
        order: by_words(Segmenter(tiny_space, config(order, background=("wall",), threshold=0.0)), 0)
        for order in (("cat", "dog"), ("dog", "cat"))
    }
    found = judge(ways, data)
    plain, exchanged = (found[order].total.miou for order in (("cat", "dog"), ("dog", "cat")))
    np.testing.assert_allclose(
        sorted(set(found["cat", "dog"].shuffled(0).round(12))), sorted({round(plain, 12), round(exchanged, 12)})
    )
    about = chance(found["cat", "dog"], 0)
    assert 0 < about["p"] <= 1 and about["best"] == pytest.approx(max(plain, exchanged))


def test_an_interval_is_that_of_drawn_photos():
    """And a photo's own numbers grow with the classes, not with their square: thousands of photos are judged."""
    rng, count = np.random.default_rng(0), 100
    judged, tables = Judged(count), []
    for _ in range(6):
        predicted, truth = rng.integers(0, count, (2, 20, 20))
        truth = np.where(truth < 90, predicted, truth)
        judged.add(predicted, truth)
        tables.append(Confusion(count))
        tables[-1].add(predicted, truth)
    assert sum(one.nbytes for one in judged.photos) < 6 * 8 * 4 * count
    draws, rng = [], np.random.default_rng(3)
    for _ in range(1000):
        drawn = Confusion(count)
        drawn.table = sum(tables[i].table for i in rng.integers(6, size=6))
        draws.append(drawn.miou)
    assert judged.interval(seed=3) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))))
    whole = Confusion(count)
    whole.table = sum(one.table for one in tables)
    assert judged.total.miou == whole.miou


def test_controls(tmp_path, tiny_space):
    data = read_masks(write_set(tmp_path / "set"))
    segmenter = Segmenter(tiny_space, config())
    ways = {
        "one": one_label(tiny_space, ["cat", "dog"], 0),
        "none": all_background(0),
        "oracle": kmeans_oracle(segmenter),
    }
    found = judge(ways, data)
    share = float((data.photos[0].truth() == 0).sum() / (data.photos[0].truth() != 255).sum())
    assert found["none"].total.figures()["pixel_accuracy"] == pytest.approx(share)
    assert found["none"].total.miou == pytest.approx(share / 3)
    assert (found["one"].total.table[:, 1:].sum(0) > 0).any() and found["one"].total.table[:, 0].sum() == 0
    assert found["oracle"].total.figures()["pixel_accuracy"] >= share - 1e-9, "an oracle may always say background"
    low, high = found["oracle"].interval()
    assert low <= found["oracle"].total.miou <= high


def test_masks_that_do_not_fit(tmp_path, tiny_space):
    folder = write_set(tmp_path / "set")
    Image.fromarray(np.full((40, 50), 9, np.uint8)).save(folder / "masks" / "1.png")
    with pytest.raises(FileError, match="has the value 9, there are 3 classes"):
        judge({"none": all_background(0)}, read_masks(folder))
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "masks" / "0.png")
    with pytest.raises(FileError, match="a mask of"):
        judge({"none": all_background(0)}, read_masks(folder))
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / "masks" / "0.png")
    with pytest.raises(FileError, match="not of classes"):
        read_masks(folder).photos[0].truth()
