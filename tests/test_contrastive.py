"""Self-supervised pre-training: losses by hand, collapse where what prevents it is taken away, one resumable loop."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import clipx
from clipx.contrastive import (
    METHODS,
    decoded,
    find_pictures,
    knn_predictions,
    linear_predictions,
    load_tower,
    losses,
    network_of,
    new_tower,
    pretrain,
    pretrain_network,
    small,
    ssl_config,
)
from clipx.contrastive.augment import blurred, draw_views, patches
from clipx.contrastive.colours import to_lab, turned_hues
from clipx.contrastive.cpc import Context
from clipx.contrastive.negatives import Bank, Queue
from clipx.contrastive.targets import follow, momentum_at
from clipx.contrastive.train import Order, features
from clipx.errors import FileError, InputError

A, B, C = torch.eye(3)
TINY = {"embed_dim": 64, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 4}}


# ------------------------------------------------------------------------------------------- losses, worked out by hand


def test_info_nce_with_a_queue_and_with_the_batch():
    # q = k = a, negatives b and -a, t = 1: e / (e + 1 + 1/e)
    one = losses.info_nce(A[None], A[None], 1.0, torch.stack([B, -A]))
    assert one.item() == pytest.approx(-math.log(math.e / (math.e + 1 + 1 / math.e)), abs=1e-6)
    # two orthogonal queries, each its own key, t = 0.5: e^2 / (e^2 + 1), each the other's negative
    two = losses.info_nce(torch.stack([A, B]), torch.stack([A, B]), 0.5)
    assert two.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)


def test_nt_xent_has_2n_minus_1_candidates():
    # views a, b and a, b: the positive has cosine 1, the two others 0; itself is left out
    loss = losses.nt_xent(torch.stack([A, B]), torch.stack([A, B]), 0.5)
    assert loss.item() == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 2)), abs=1e-6)


def test_nce_of_a_bank():
    # P(i|v) = e / Z with Z = 2 e: 1/2; M / n = 2 / 4: h = (1/2) / (1/2 + 1/2) = 1/2
    # noise b: P = 1 / 2e, h = (1/2e) / (1/2e + 1/2) = 1 / (1 + e), twice
    loss = losses.nce(A[None], A[None], torch.stack([B, B]), 1.0, 4, 2 * math.e)
    by_hand = -math.log(1 / 2) - 2 * math.log(1 - 1 / (1 + math.e))
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_instance_spread():
    # two pictures a, b with the same views, t = 1: P(i | x^_i) = e / (e + 1), P(i | x_j) = 1 / (e + 1)
    loss = losses.instance_spread(torch.stack([A, B]), torch.stack([A, B]), 1.0)
    own, other = math.e / (math.e + 1), 1 / (math.e + 1)
    assert loss.item() == pytest.approx(-math.log(own) - math.log(1 - other), abs=1e-5)


def test_cosine_losses():
    p, z = torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]])  # cos = 0.6
    assert losses.negative_cosine(p, z).item() == pytest.approx(-0.6, abs=1e-6)
    assert losses.regression(p, z).item() == pytest.approx(0.8, abs=1e-6)
    assert losses.regression(p, z).item() == pytest.approx((F.normalize(p) - F.normalize(z)).square().sum().item())


def test_sinkhorn_spreads_the_codes():
    scores = torch.tensor([[0.5, 0.0], [0.5, 0.0]])  # all prefer the first prototype, alike
    assert losses.sinkhorn(scores, 0.05, 3).numpy() == pytest.approx(0.5, abs=1e-6)
    assert losses.sinkhorn(scores, 0.05, 0)[:, 0].min() > 0.99
    codes = losses.sinkhorn(torch.rand(12, 3, generator=torch.Generator().manual_seed(0)), 0.5, 50)
    assert codes.sum(1).numpy() == pytest.approx(1, abs=1e-5) and codes.sum(0).numpy() == pytest.approx(4, abs=1e-3)


def test_sinkhorn_is_the_papers_listing():
    scores, eps = torch.rand(5, 4, generator=torch.Generator().manual_seed(1)), 0.3
    q = (scores / eps).exp().T  # literally: listing of appendix A
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(1, keepdim=True) * 4
        q /= q.sum(0, keepdim=True) * 5
    assert losses.sinkhorn(scores, eps, 3).numpy() == pytest.approx((q * 5).T.numpy(), abs=1e-6)


def test_swapped_prediction_and_self_distillation():
    # softmax([0.1, 0] / 0.1) = (e, 1) / (e + 1)
    scores = torch.tensor([[0.1, 0.0]])
    loss = losses.swapped_prediction(scores, torch.tensor([[0.25, 0.75]]), 0.1)
    assert loss.item() == pytest.approx(math.log(math.e + 1) - 0.25, abs=1e-6)
    # the teacher's 1, 0 less the centre 0.5, -0.5 is 0.5, 0.5: it says 1/2 each, at any temperature
    centre = torch.tensor([0.5, -0.5])
    loss = losses.self_distillation(scores, torch.tensor([[1.0, 0.0]]), centre, 0.1, 0.04)
    assert loss.item() == pytest.approx(math.log(math.e + 1) - 0.5, abs=1e-5)


def test_spread():
    assert losses.spread(torch.stack([A, A])) == pytest.approx(0, abs=1e-6)
    assert losses.spread(torch.stack([A, -A])) == pytest.approx(1)
    assert losses.alignment(torch.stack([A, B]), torch.stack([A, C]), 0.5).item() == pytest.approx(-1)


# -------------------------------------------------------------------------------------------------- negatives, targets


def test_queue_is_first_in_first_out():
    queue = Queue(3, 3)
    queue.push(torch.stack([A, B, C]))
    queue.push(-A[None])
    assert torch.equal(queue.keys, torch.stack([-A, A, B]))


def test_bank_moves_its_rows_by_half():
    bank = Bank(4, 3, 0.5)
    bank.rows[1] = A
    before = bank.rows.clone()
    bank.update(torch.tensor([1]), B[None])
    assert torch.allclose(bank.rows[1], F.normalize(A + B, dim=0)) and torch.equal(bank.rows[2:], before[2:])
    first = bank.normaliser(A[None], A[None], 1.0)
    assert first.item() == pytest.approx(4 * math.e, rel=1e-6)
    assert torch.equal(bank.normaliser(B[None], A[None], 1.0), first)  # kept


def test_target_follows_by_the_schedule():
    slow, fast = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(slow.weight, 1.0), nn.init.constant_(fast.weight, 3.0)
    follow(slow, fast, 0.75)
    assert slow.weight.item() == pytest.approx(1.5)
    assert [momentum_at(s, 10, (0.9, 1.0)) for s in (0, 5, 10)] == pytest.approx([0.9, 0.95, 1.0])


# --------------------------------------------------------------------------------------------------------------- views


def test_views_are_what_the_method_says():
    shown, rng = torch.rand(3, 3, 80, 80), np.random.default_rng(0)
    sizes = {
        name: [tuple(view.shape) for view in draw_views(shown, small(METHODS[name]).views, 64, rng)]
        for name in ("simclr-v1", "instdisc", "swav", "dino", "cmc", "cpc")
    }
    large, local = (3, 3, 64, 64), (3, 3, 32, 32)
    assert sizes["simclr-v1"] == sizes["cmc"] == [large] * 2 and sizes["instdisc"] == [large]
    assert sizes["swav"] == sizes["dino"] == [large] * 2 + [local] * 4
    assert sizes["cpc"] == [(3, 16, 3, 32, 32)]


def test_colours_and_blur_are_each_paper_s():
    """InstDisc, InvaSpread and MoCo v1 change the colours of every view; DINO blurs half of its small views."""
    always = {name for name, method in METHODS.items() if method.views.jittered == 1 and any(method.views.colour)}
    assert always == {"instdisc", "invaspread", "moco-v1"}
    dino = METHODS["dino"].views
    assert dino.blur == (1.0, 0.1, 0.5) and dino.solarise == (0.0, 0.2, 0.0)
    views = dataclasses.replace(dino, colour=(0.0,) * 4, grey=0.0, local=4, solarise=(0.0, 0.0, 1.0), blur=(0.0,) * 3)
    dark, bright = (draw_views(torch.full((8, 3, 80, 80), x), views, 64, np.random.default_rng(0)) for x in (0.3, 0.9))
    assert all(torch.allclose(view, torch.tensor(0.3)) for view in dark)
    assert [round(float(view.mean()), 2) for view in bright] == [0.9] * 2 + [0.1] * 4


@pytest.mark.parametrize("size", [32, 48, 64])
def test_small_views_are_large_enough_for_a_resnet(tmp_path, size):
    config, method = ssl_config(steps=1, batch_size=4), small(METHODS["swav"])
    pretrain(made_pictures(4, 40), method, new_tower(TINY, size), config, tmp_path / "run")


def test_patches_of_the_paper_overlap_by_half():
    picture = torch.arange(256.0).expand(1, 3, 256, 256)
    cut = patches(picture, 7)
    assert cut.shape == (1, 49, 3, 64, 64)
    assert [int(c[0, 0, 0]) for c in cut[0, :7]] == [0, 32, 64, 96, 128, 160, 192]


def test_context_never_sees_rows_below():
    net, x = Context(4), torch.randn(1, 4, 5, 5)
    changed = x.clone()
    changed[:, :, 3:] += 1
    assert torch.equal(net(x)[:, :, :3], net(changed)[:, :, :3]) and not torch.equal(
        net(x)[:, :, 3:], net(changed)[:, :, 3:]
    )


def test_lab_of_known_colours():
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    lab = to_lab(colours[:, :, None, None])[:, :, 0, 0]
    known = [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    assert lab.numpy() == pytest.approx(np.array(known), abs=0.05)


def test_hue_and_blur_keep_what_they_should():
    x = torch.rand(2, 3, 8, 8)
    luma = lambda p: (p * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)  # noqa: E731
    turned = turned_hues(x, np.array([0.25, 0.0]))
    assert torch.allclose(luma(turned), luma(x), atol=1e-4) and torch.allclose(turned[1], x[1], atol=1e-4)
    assert not torch.allclose(turned[0], x[0], atol=1e-2)
    assert torch.allclose(blurred(torch.ones(1, 3, 8, 8), np.array([1.5])), torch.ones(1, 3, 8, 8))
    assert blurred(x, np.array([1.5, 1.5])).var() < x.var()


def test_batches_are_epochs_without_repeats():
    order = Order(10, 3, 0)
    epoch = np.concatenate([order.batch(draw) for draw in range(3)])
    assert len(set(epoch)) == 9
    assert np.array_equal(Order(10, 3, 0).batch(4), order.batch(4)) and not np.array_equal(
        order.batch(0), order.batch(3)
    )


# ------------------------------------------------------------------------------------------------------------ collapse


class Flat(nn.Module):
    """A tower of one hidden layer, on pictures shrunk to 4 x 4."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        return self.net(F.adaptive_avg_pool2d(x, 4))


def made_pictures(count=256, side=10):
    """Two colours a picture, above and below or left and right."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (count, 2, 3, 1, 1))
    shown = np.where(np.arange(side)[:, None] < side // 2, colours[:, 0], colours[:, 1])
    shown = np.broadcast_to(shown, (count, 3, side, side)).copy()
    shown[::2] = shown[::2].swapaxes(2, 3)
    return shown.astype(np.uint8)


def spread_after(tmp_path, name, steps=50, lr=1e-2, **changes):
    """The spread of the compared vectors of the pictures after some steps, by a method with changes."""
    method = small(METHODS[name])
    views = dataclasses.replace(method.views, local=0, blur=(0.0,) * 3, area=(0.6, 1.0))
    method = dataclasses.replace(
        method, views=views, length=256, hidden=64, dim=32, predictor_hidden=32, prototypes=min(32, method.prototypes)
    )
    method, pictures = dataclasses.replace(method, **{"momentum": (0.9, 0.9)} | changes), made_pictures()
    network = network_of(method, Flat(), 32, len(pictures))
    config = ssl_config(steps=steps, batch_size=64, lr=lr, weight_decay=0.0)
    pretrain_network(network, pictures, 8, config, tmp_path / "-".join([name, *changes]))
    with torch.no_grad():
        return losses.spread(network.online(torch.from_numpy(np.array(pictures)).float() / 255))


NO_NORM = {"head_norm": "inside"}  # batch normalisation of the output would blow up what is left of a collapse
GUARDS = {  # what prevents collapse, taken away: a method may need several gone
    "moco-v1": ({"temperature": 0.2}, {"negatives": "none"}),
    "moco-v2": ({}, {"negatives": "none"}),
    "moco-v3": (NO_NORM, {"negatives": "none", "predictor": False}),  # without negatives it is BYOL
    "simclr-v1": ({}, {"negatives": "none"}),
    "simclr-v2": ({}, {"negatives": "none"}),
    "invaspread": ({}, {"negatives": "none"}),
    "cmc": ({}, {"negatives": "none"}),
    "byol": ({}, {"predictor": False}),
    "byol, target": ({}, {"target": "self"}),
    "simsiam": (NO_NORM, {"target": "self"}),
    "simsiam, predictor": (NO_NORM, {"predictor": False}),
    "swav": ({}, {"sinkhorn": 0}),
    "dino": ({"momentum": (0.99, 1.0)}, {"centre": None}),
}


@pytest.mark.parametrize("case", GUARDS)
def test_without_its_guard_a_method_collapses(tmp_path, case):
    name, (base, taken) = case.split(",")[0], GUARDS[case]
    kept, left = spread_after(tmp_path, name, **base), spread_after(tmp_path / "less", name, **base, **taken)
    assert left < kept / 5, f"{name}: spread {kept:.3f}, and {left:.3f} with {taken}"


# ---------------------------------------------------------------------------------------------------------- the loop


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_a_tower_of_the_joint_spaces(tmp_path, name):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (24, 3, 80, 80), np.uint8)
    method = dataclasses.replace(small(METHODS[name]), length=16, prototypes=min(16, small(METHODS[name]).prototypes))
    tower = new_tower(TINY, 64)
    before = {key: value.clone() for key, value in tower.visual.state_dict().items()}
    trained = pretrain(pictures, method, tower, ssl_config(steps=2, batch_size=8), tmp_path / "run")
    after = trained.visual.state_dict()
    assert any(not torch.equal(after[key], before[key]) for key in after if key.endswith("weight"))
    found = features(trained, pictures[:5])
    assert found.shape == (5, 64) and bool(found.isfinite().all())
    trained.save(tmp_path / "tower.safetensors")
    again = load_tower(tmp_path / "tower.safetensors")
    assert torch.equal(features(again, pictures[:5]), found)
    assert again.about["method"]["name"] == name and again.preprocess["size"] == [64, 64]
    if name == "cmc":  # it learned from lightness alone: colours of one luma are one to it
        assert torch.allclose(found, features(again, np.repeat(grey_of(pictures[:5]), 3, axis=1)), atol=0.05)


def grey_of(pictures):
    luma = (pictures * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdims=True)
    return luma.round().astype(np.uint8)


@pytest.mark.parametrize("name", ["moco-v2", "cmc", "dino"])  # a queue, banks, a slow network with a centre
def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path, name):
    pictures, config = made_pictures(24, 80), ssl_config(steps=4, batch_size=8)
    method = dataclasses.replace(small(METHODS[name]), length=16, prototypes=min(16, small(METHODS[name]).prototypes))

    def run(folder, **how):
        return pretrain(pictures, method, new_tower(TINY, 64), config, folder, **how)

    run(tmp_path / "whole").save(tmp_path / "whole.safetensors")
    run(tmp_path / "parts", stop_after=2)
    run(tmp_path / "parts", resume=True).save(tmp_path / "parts.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "parts.safetensors").read_bytes()


def test_moco_v3_leaves_the_patch_projection_of_a_vit_alone(tmp_path):
    vit = {"embed_dim": 32, "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16}}
    pictures, config = made_pictures(8, 40), ssl_config(steps=2, batch_size=4)
    for name, moves in (("moco-v3", False), ("byol", True)):
        tower = new_tower(vit, 32)
        before = tower.visual.conv1.weight.detach().clone()
        after = pretrain(pictures, small(METHODS[name]), tower, config, tmp_path / name).visual.conv1.weight
        assert torch.equal(before, after) is not moves


def test_a_constant_tower_and_few_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="fewer than a batch"):
        pretrain(made_pictures(4), small(METHODS["byol"]), new_tower(TINY, 64), ssl_config(batch_size=8), tmp_path)
    with pytest.raises(InputError, match="known: instdisc"):
        clipx.contrastive.method_named("moco")
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(FileError, match="is no image tower"):
        load_tower(tmp_path / "no.safetensors")


# --------------------------------------------------------------------------------------------------------- measuring


def test_neighbours_vote_by_their_closeness():
    train, labels = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([0, 1, 1])
    test = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert knn_predictions(train, labels, test, k=1).tolist() == [0, 1]
    assert knn_predictions(train, labels, test, k=3, temperature=100.0).tolist() == [1, 1]  # two votes against one


def test_linear_classifier_reads_what_neighbours_cannot():
    rng = torch.Generator().manual_seed(0)
    train, test = (torch.randn(400, 8, generator=rng) * torch.tensor([0.1] + [10.0] * 7) for _ in range(2))
    labels, right = (rows[:, 0] > 0 for rows in (train, test))
    assert (linear_predictions(train, labels.long(), test) == right).float().mean() > 0.95
    assert (knn_predictions(train, labels.long(), test) == right).float().mean() < 0.7


# -------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos/inner").mkdir(parents=True)
    for i, shown in enumerate(made_pictures(9, 40)):
        Image.fromarray(shown.transpose(1, 2, 0)).save(tmp_path / f"photos/{'inner/' * (i % 2)}{i}.png")
    return tmp_path / "photos"


def test_command(folder, run, run_json):
    out = folder.parent / "tower.safetensors"
    line = f"train ssl {folder} --method simclr-v2 --batch-size 4 --size 32 --out {out}"
    (result,) = run_json(f"{line} --epochs 1")["results"]
    assert result["steps"] == 2 and result["method"] == "simclr-v2" and 0 <= result["spread"] <= 1
    assert load_tower(out).config["vision_cfg"]["image_size"] == 32
    first = out.read_bytes()
    assert "--resume" in run(f"{line} --epochs 1")[2]
    assert run(f"{line} --epochs 1 --resume")[0] == 0 and out.read_bytes() == first
    for lr in ("-1", "0", "nan", "inf"):
        assert "--lr: the learning rate must be above 0" in run(f"{line} --lr {lr}")[2]
    assert "fewer than a batch of 16" in run(f"{line} --batch-size 16")[2]
    assert "unknown method 'moco'" in run(f"{line} --method moco")[2]
    assert "no such folder" in run(f"train ssl {folder / 'none'}")[2]
    assert "suffix '.pt' is not .safetensors" in run(f"train ssl {folder} -o tower.pt")[2]


def test_an_unreadable_picture_is_named_each_time(folder):
    (folder / "bad.png").write_bytes(b"no picture")
    for _ in range(2):  # the second time from the cache
        failures = {}
        pictures = decoded(find_pictures(folder), 32, folder.parent / "cache", failures)
        assert pictures.shape == (9, 3, 40, 40) and list(failures) == [str(folder / "bad.png")]
    with pytest.raises(FileError, match="not a readable picture"):
        decoded(find_pictures(folder), 32, folder.parent / "cache")
