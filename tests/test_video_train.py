"""Heads that learn from clips: their losses, resumption bit for bit, their file in the modality, captions."""

import json
import shutil

import numpy as np
import pytest
import torch
from films import grey, write_film

import clipx
from clipx.captions import both_ways, pairs_of
from clipx.cli import main
from clipx.datasets import LabelledData, read_captions
from clipx.errors import InputError
from clipx.modalities.video import Video, VideoConfig, VideoTrainConfig, fit_head, frame_vectors
from clipx.modalities.video.data import Texts, caption_texts, label_texts
from clipx.modalities.video.train import mean_head, measure, two_way_loss
from clipx.training.optim import optimizers_of

SAMPLING = VideoConfig(uniform=5)


def ordered(count, dim, seed):
    """Made frame vectors: of two events each is the other's reversal, so that their means are one."""
    make = np.random.default_rng(seed)
    start, end = np.random.default_rng(5).normal(size=(2, dim))
    frames = []
    for i in range(count):
        share = np.linspace(0, 1, 5)[:: -1 if i % 2 else 1, None]
        own = (1 - share) * start + share * end + 0.1 * make.normal(size=(1, dim))
        frames.append((own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float32))
    return frames


def two_texts(count, dim):
    vectors = torch.nn.functional.normalize(torch.randn(3, 2, dim, generator=torch.Generator().manual_seed(1)), dim=2)
    return Texts(["there", "back"], vectors, torch.arange(count) % 2, labels=True)


def fitted(space, out, kind="seqlstm", steps=30, **more):
    config = VideoTrainConfig(kind, steps=steps, batch_size=16, lr=1e-2, layers=None if kind == "seqlstm" else 1)
    return fit_head(space, ordered(40, 32, 0), two_texts(40, 32), SAMPLING, config, out, **more)


@pytest.mark.parametrize("kind", ["seqlstm", "seqtransf", "tight"])
def test_a_head_learns_the_order_that_the_mean_cannot(tiny_space, tmp_path, kind):
    head = fitted(tiny_space, tmp_path, kind)
    rows = measure(
        {"mean": mean_head(tiny_space, SAMPLING), kind: head},
        ordered(40, 32, 1),
        [str(i) for i in range(40)],
        two_texts(40, 32),
    )
    assert rows[1]["acc1"] >= 0.9 > 0.8 > rows[0]["acc1"]
    assert rows[0]["chance"] == {"acc1": 0.5} and rows[1]["acc5"] is None


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tiny_space, tmp_path):
    whole = fitted(tiny_space, tmp_path / "a", steps=12)
    fitted(tiny_space, tmp_path / "b", steps=12, stop_after=5)
    resumed = fitted(tiny_space, tmp_path / "b", steps=12, resume=True)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    with pytest.raises(InputError, match="another folder"):
        fitted(tiny_space, tmp_path / "b", steps=13, resume=True)
    with pytest.raises(InputError, match="holds a run already"):
        fitted(tiny_space, tmp_path / "b", steps=12)


def test_the_losses_are_those_of_the_papers():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    eye = torch.eye(4, dtype=torch.bool)
    own = torch.arange(4)
    entropy = torch.nn.functional.cross_entropy
    assert torch.allclose(two_way_loss(logits, eye, False), (entropy(logits, own) + entropy(logits.T, own)) / 2)
    same = own[:, None] // 2 == own // 2  # two labels of two clips
    targets = (10 * same.float()).softmax(1)
    assert two_way_loss(targets.log(), same, True) < 1e-6  # zero where the clips' softmax is the target
    some = torch.tensor([[1, 1], [0, 1]]).bool()  # the first clip has both texts
    both = (-0.5 * (logits[0, :2].log_softmax(0).sum() + 2 * np.log(2)) - logits[1, :2].log_softmax(0)[1]) / 2
    back = (-logits[:2, 0].log_softmax(0)[0] - 0.5 * (logits[:2, 1].log_softmax(0).sum() + 2 * np.log(2))) / 2
    assert torch.allclose(two_way_loss(logits[:2, :2], some, False), (both + back) / 2)
    assert abs(two_way_loss(torch.zeros(4, 4), same, True) - (targets * (targets * 4).log()).sum(1).mean()) < 1e-6


def test_the_captions_of_one_clip_are_no_negatives_of_it(tiny_space, tmp_path, monkeypatch):
    """Clips 0 and 1 with two captions each, and clip 2 with one that clip 0 has as well."""
    frames = ordered(3, 32, 0)
    names = ["a", "b", "c", "d"]
    vectors = torch.nn.functional.normalize(torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0)), dim=2)
    rows, owner = [0, 0, 1, 1, 2], torch.tensor([0, 1, 2, 3, 1])
    given = []

    def loss(logits, same, labels):
        given.append(same)
        return two_way_loss(logits, same, labels)

    monkeypatch.setattr("clipx.modalities.video.train.two_way_loss", loss)
    texts, config = Texts(names, vectors, owner, labels=False), VideoTrainConfig("conv1d", steps=1, batch_size=5)
    fit_head(tiny_space, [frames[i].copy() for i in rows], texts, SAMPLING, config, tmp_path)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0)).tolist()  # of the first step of seed 0
    said = {0: {0, 1}, 1: {2, 3}, 2: {1}}
    expected = [[owner[j].item() in said[rows[i]] for j in order] for i in order]
    assert given[0].tolist() == expected and sum(map(sum, expected)) == 2 * 3 + 2 * 2 + 2


def test_a_run_has_the_constants_of_clip4clip():
    plan = VideoTrainConfig().plan(180_000)  # MSR-VTT's captions
    assert (plan.steps, plan.batch_size, plan.warmup) == (5 * 1407, 128, 703)
    assert (plan.lr, plan.weight_decay, plan.beta2, plan.eps, plan.ema) == (1e-4, 0.2, 0.98, 1e-6, 0.0)
    assert VideoTrainConfig().plan(40).steps == 300 and VideoTrainConfig(steps=7).plan(40).steps == 7
    (adam,) = optimizers_of(torch.nn.Linear(2, 2), plan, torch.device("cpu"))
    assert adam.param_groups[0]["betas"] == (0.9, 0.98) and adam.param_groups[0]["eps"] == 1e-6
    assert adam.param_groups[0]["weight_decay"] == 0.2 and adam.param_groups[1]["weight_decay"] == 0


def test_what_cannot_be_learned_is_refused(tiny_space, tmp_path):
    with pytest.raises(InputError, match="the mean of the frames learns nothing"):
        VideoTrainConfig("mean")
    for wrong in ({"head": "x"}, {"steps": 0}, {"batch_size": 1}, {"lr": 0}, {"lr": float("nan")}, {"seed": -1}):
        with pytest.raises(InputError):
            VideoTrainConfig(**wrong)
    with pytest.raises(InputError, match="two of each"):
        fit_head(tiny_space, ordered(1, 32, 0), two_texts(1, 32), SAMPLING, VideoTrainConfig("conv1d"), tmp_path / "a")


def test_captions_are_ranked_both_ways():
    first, sentences, positives = pairs_of(["a", "b", "a", "c"], ["x", "y", "z", "y"])
    assert first == [0, 1, 3] and sentences == ["x", "y", "z"]
    assert positives.tolist() == [[True, False, False], [False, True, True], [True, False, False]]
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.1, 0.4], [0.3, 0.2, 0.1]])
    found = both_ways(scores, positives, "video")
    there, back = found["text_to_video"], found["video_to_text"]
    assert there["R@1"] == pytest.approx(2 / 3) and there["MnR"] == pytest.approx(4 / 3) and there["MdR"] == 1
    assert there["chance"]["R@1"] == pytest.approx((1 + 2 + 1) / 9)
    assert back["R@1"] == pytest.approx(2 / 3) and "R@5" not in there  # a depth beyond the gallery says nothing
    assert there["ci95"]["R@1"][0] < there["R@1"] < there["ci95"]["R@1"][1]
    assert there["chance"]["MnR"] == pytest.approx((4 / 2 + 4 / 3 + 4 / 2) / 3)


@pytest.fixture
def clips(tmp_path):
    """Eight films, half of them getting brighter, in a folder with labels and captions."""
    pytest.importorskip("av")
    folder = tmp_path / "clips"
    folder.mkdir()
    rows = ["path,label,caption,split"]
    for i in range(8):
        write_film(folder / f"{i}.mp4", [grey(4 * j + i) for j in (range(6), range(5, -1, -1))[i % 2]], rate=4)
        said = f"a photo of a small {'chair' if i % 4 < 2 else 'cat'}" if i != 7 else ""
        rows.append(f"{i}.mp4,{'cup' if i % 2 else 'chair'},{said},{'test' if i > 5 else 'train'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_rows_without_a_caption_are_left_out(clips):
    data = read_captions(clips, Video)
    assert len(data.items) == 7 and isinstance(data, LabelledData)
    assert len(read_captions(clips, Video, where=[("split", "test")]).items) == 1
    with pytest.raises(Exception, match="needs the columns path and said"):
        read_captions(clips, Video, "said")


def test_frames_are_looked_at_once(clips, tiny_vit_space, tmp_path, monkeypatch):
    video, data = Video(tiny_vit_space, SAMPLING), read_captions(clips, Video)
    found = frame_vectors(video, data, tmp_path / "cache")
    expected = video.frame_parts([video.load(clips / "3.mp4")]).vectors
    assert len(found) == 7 and np.abs(found[3] - expected).max() < 1e-6
    monkeypatch.setattr(Video, "frame_parts", None)
    again = frame_vectors(video, data, tmp_path / "cache")
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.usefixtures("here")
def test_the_command_writes_a_head_that_other_commands_take(clips, capsys):
    given = [
        "train",
        "video",
        str(clips),
        "--head",
        "conv1d",
        "--steps",
        "9",
        "--uniform",
        "5",
        "-o",
        "own.safetensors",
    ]
    parts = ["--where", "split=train", "--test-where", "split=test"]
    assert main([*given, *parts, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["head"] for row in record["results"]] == ["mean", "conv1d"] and record["test_clips"] == 2
    assert record["sampling"] == {"fps": 1.0, "frames": 0, "uniform": 5}
    assert main(given) == 2 and "holds a run already" in capsys.readouterr().err
    film, path = str(clips / "0.mp4"), "own.safetensors"
    named = ["classify", film, "--labels", "chair,cup", "--head", "own.safetensors", "--prompts", "action"]
    assert main(named) == 0
    with_head, plain = (clipx.classify(film, ["chair", "cup"], uniform=5, **own) for own in ({"head": path}, {}))
    assert [one.label for one in with_head] and with_head[0].cosine != plain[0].cosine
    assert main(["eval", "video", str(clips), "--head", "own.safetensors", "--labels", "chair,cup"]) == 0
    assert main(["index", str(clips), "--db", "db", "--head", "own.safetensors"]) == 0
    capsys.readouterr()
    assert main(["search", "a chair", "--db", "db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]


@pytest.mark.usefixtures("here")
def test_clips_to_test_on_are_not_learned_from(clips, capsys):
    given = ["train", "video", str(clips), "--head", "conv1d", "--steps", "2", "--uniform", "5", "-o", "a.safetensors"]
    assert main([*given, "--test-where", "split=test"]) == 2
    error = capsys.readouterr().err
    assert "--test-where: 2 samples to learn from are among those to test on; see --where" in error
    shutil.copy(clips / "0.mp4", clips / "7.mp4")  # a copy of another name
    assert main([*given, "--where", "split=train", "--test-where", "split=test"]) == 2
    assert "--test-where: 1 samples to learn from are among those to test on" in capsys.readouterr().err


def test_the_modality_gives_what_the_head_makes_of_the_frames(clips, tiny_vit_space, tmp_path):
    from clipx.modalities.video.heads import new_head

    head = mean_head(tiny_vit_space, SAMPLING)
    network = new_head("conv1d", 32, 8)
    with torch.no_grad():
        network.out.weight.normal_(generator=torch.Generator().manual_seed(0))
    path = type(head)("conv1d", network, head.space_id, head.sampling, {}).save(tmp_path / "a.safetensors")
    plain, own = Video(tiny_vit_space, SAMPLING), Video(tiny_vit_space, VideoConfig(head=path))
    film = clips / "0.mp4"
    assert own.sampling.uniform == 5 and own.context and not plain.context
    frames = plain.frame_parts([plain.load(film)]).vectors
    expected = own.head.vector(frames)
    assert np.abs(own.encode([own.load(film)]).vectors[0] - expected).max() < 1e-6
    assert np.abs(own.encode([own.load(film)]).vectors - plain.encode([plain.load(film)]).vectors).max() > 0.01
    cut = Video(tiny_vit_space, VideoConfig(head=str(path), cut="windows", longest_s=0.8))
    parts = cut.parts([cut.load(film)])
    assert len(parts.vectors) == 2 and np.abs(cut.pool(parts)[0] - expected).max() < 1e-6
    counts = [len(place.vectors) for place in parts.places]
    assert np.abs(parts.vectors[0] - own.head.vector(frames[: counts[0]])).max() < 1e-6
    assert Video(tiny_vit_space, VideoConfig(head=path, fps=3)).sampling.fps == 3  # what was asked for stays


def test_a_head_of_scores_fills_no_index(clips, tiny_vit_space, tmp_path):
    from clipx.modalities.video.heads import Head, new_head

    given = Head(
        "tight", new_head("tight", 32, 8, 1), tiny_vit_space.id, mean_head(tiny_vit_space, SAMPLING).sampling, {}
    )
    path = given.save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="no vector of a film"):
        Video(tiny_vit_space, VideoConfig(head=path)).encode([Video.example()])


@pytest.mark.usefixtures("here")
def test_learning_from_captions(clips, capsys):
    given = ["train", "video", str(clips), "--captions", "--steps", "2", "--head", "seqlstm", "-o", "c.safetensors"]
    assert main([*given, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["results"][1]
    assert row["text_to_video"]["gallery"] == 7 and row["text_to_video"]["n"] == 2
    assert main([*given[:-1], "d.safetensors"]) == 0
    assert "text to video" in capsys.readouterr().out


def test_texts_of_labels_and_captions(clips, tiny_space):
    data = read_captions(clips, Video)
    texts = caption_texts(tiny_space, data)
    assert texts.vectors.shape == (1, 2, 32) and texts.owner.tolist() == [0, 0, 1, 1, 0, 0, 1]
    labels = label_texts(tiny_space, LabelledData("x", data.items, ["cup", "cat"] * 3 + ["cup"], ["cup", "cat"]))
    assert labels.vectors.shape == (16, 2, 32) and labels.names == ["cat", "cup"]
    assert torch.allclose(labels.vectors[0, 1], torch.from_numpy(tiny_space.encode_text(["a photo of action cup"])[0]))


@pytest.mark.usefixtures("here")
def test_eval_ranks_captions(clips, capsys):
    assert main(["eval", "video", str(clips), "--captions", "caption", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    ranked = [(row["way"], row["n"], row["gallery"]) for row in rows]
    assert ranked == [("text_to_video", 2, 7), ("video_to_text", 7, 2)]
    assert rows[1]["chance"]["R@1"] == 0.5 and set(rows[0]["ci95"]) == {"R@1", "R@5", "MdR", "MnR"}
    assert main(["eval", "video", str(clips), "--captions", "caption", "--shots", "1"]) == 2
    assert "--shots: captions are taken as they stand" in capsys.readouterr().err
