"""Training by several processes, here two on the CPU that meet by gloo: one run of both is that of one process."""

import io
import json
import os
import signal
import socket
from contextlib import redirect_stdout, suppress

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from conftest import PREPROCESS, RESNET, WORDS, save_space
from torch import nn
from torch.multiprocessing import spawn

from clipx import _processes as processes
from clipx._processes import gather
from clipx.cli import main
from clipx.space import random_space
from clipx.training import TrainConfig, contrastive_loss, loop, train
from clipx.training.teacher import kept_vectors

CONFIG = TrainConfig(steps=8, batch_size=6, lr=0.02, warmup=2, ema=0.5, checkpoint_every=3)
SIGNALLED = 4  # the step at which one of them is told to stop


class Towers(nn.Module):
    """Two little towers, a scale, and a parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(processes.rank())  # whatever each begins with, all begin with the first one's
        self.left, self.right = (nn.Sequential(nn.Linear(5, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(2))
        self.scale, self.idle = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.ones(3, 3))

    def forward(self, a, b):
        return F.normalize(self.left(a), dim=1), F.normalize(self.right(b), dim=1), self.scale.exp()


def drawn(draw):
    rng = torch.Generator().manual_seed(draw)
    a = torch.randn(CONFIG.batch_size, 5, generator=rng)
    return a, a.roll(1, 1) + 0.3 * torch.randn(a.shape, generator=rng)


def loss_of(module, step, draw):
    """One process: both halves of the batch. Two: each its own half, told from the other's too."""
    parts = [drawn(draw)] if processes.world_size() == 2 else [drawn(2 * step), drawn(2 * step + 1)]
    left, right, scale = module(*(torch.cat(own) for own in zip(*parts, strict=True)))
    left, right = gather(left), gather(right)
    return {"loss": contrastive_loss(left, right, scale, torch.eye(len(left))), "scale": scale}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def worker(rank, port, folder, data):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    processes.join(torch.device("cpu"))
    found = {"number": processes.rank(), "count": processes.world_size()}

    mine = torch.full((2, 3), rank + 1.0, requires_grad=True)
    whole = gather(mine)
    (whole * torch.arange(12.0).view(4, 3) * (rank + 1)).sum().backward()  # each has another loss of all
    found |= {"gathered": whole.detach(), "gradient": mine.grad, "mask": gather(torch.tensor([rank == 1]))}
    with pytest.raises(ValueError, match="only the first"):
        processes.on_first_rank(lambda: int(["only the first has tried this"][0]))

    with suppress(ZeroDivisionError), processes.first_rank_first():
        found["order"] = [*folder.glob("was-here")]
        (folder / "was-here").touch()
        1 / rank  # the first one fails: the others are not left waiting

    looked, vectors = [], torch.zeros(7, 2, 3)

    def look(some):
        looked.append(some.start)
        return torch.full((len(some), 2, 3), some.start + 1.0)

    kept_vectors("looking", vectors, 2, folder / "teacher", str, look)
    found |= {"looked": looked, "vectors": vectors}

    saves, save = [], loop.save_checkpoint
    loop.save_checkpoint = lambda *args: saves.append(args[-1]) or save(*args)
    module = train(Towers(), loss_of, CONFIG, folder / "two")
    found |= {"state": module.state_dict(), "saves": [*saves]}

    def signalled(module, step, draw):
        if rank == 1 and step == SIGNALLED:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_of(module, step, draw)

    try:
        train(Towers(), signalled, CONFIG, folder / "stopped")
        found["ended"] = "not stopped"
    except KeyboardInterrupt:
        found["ended"] = len(rows_of(folder / "stopped"))
    found["resumed"] = train(Towers(), loss_of, CONFIG, folder / "stopped", resume=True).state_dict()

    from clipx.modalities.audio.config import AudioTrainConfig
    from clipx.modalities.audio.train import train_audio

    space = random_space(RESNET, preprocess_cfg=PREPROCESS)
    quick = AudioTrainConfig(epochs=2, batch_size=2, crop_s=0.5)
    figures = train_audio(data, space, folder / "audio", quick, fold="1", images=data / "pictures")
    os.environ["CLIPX_SPACE"] = str(folder / "spaces" / "tiny")
    lines = {
        "ssl": f"{data / 'pictures'} --method simclr-v2 --size 32 --epochs 2",
        "pointcloud": f"{data / 'clouds'} --points 32 --turns 1 --steps 2",
    }
    found["said"] = []
    for name, line in lines.items():
        words = [*line.split(), "--batch-size", "2", "-o", str(folder / f"{name}.safetensors"), "--json"]
        with redirect_stdout(io.StringIO()) as out:
            assert main(["train", name, *words]) == 0
        found["said"].append(out.getvalue())
    torch.save(found | {"figures": figures}, folder / f"{rank}.pt")
    torch.distributed.barrier()
    processes._leave()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What both processes found, and their folder."""
    from PIL import Image

    folder, data = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("sounds")
    lines = ["path,label,fold"]
    for i in range(4):
        for label in ("cat", "cup"):
            wave = torch.randn(11_025, generator=torch.Generator().manual_seed(i)) * (0.1 if label == "cat" else 0.5)
            soundfile.write(data / f"{label}{i}.wav", wave.numpy().cumsum() / 100 if label == "cup" else wave, 22_050)
            lines.append(f"{label}{i}.wav,{label},{i % 2}")
    (data / "labels.csv").write_text("\n".join(lines))
    (data / "pictures" / "cat").mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(data / "pictures" / "cat" / "a.png")
    for i in range(7):
        Image.new("RGB", (40, 40), (30 * i, 200, 90)).save(data / "pictures" / f"{i}.png")
    (data / "clouds").mkdir()
    for i in range(4):
        np.savetxt(data / "clouds" / f"{i}.xyz", np.random.default_rng(i).normal(size=(50, 3)))
    save_space(random_space(RESNET, preprocess_cfg=PREPROCESS), folder / "spaces" / "tiny", WORDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(worker, (port, folder, data), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)], folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return train(Towers(), loss_of, CONFIG, folder).state_dict(), folder


def same(a, b, **near):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], **near, msg=lambda said, key=key: f"{key}: {said}")


def test_two_processes_train_what_one_does_on_the_same_batch(one, two):
    (first, second), folder = two
    same(first["state"], second["state"], rtol=0, atol=0)
    same(first["state"], one[0], rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(rows_of(folder / "two"), rows_of(one[1]), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
    assert torch.equal(first["state"]["idle"], torch.ones(3, 3))  # without a gradient nothing decays it


def test_rows_are_gathered_with_gradients_from_every_process(two):
    for rank, found in enumerate(two[0]):
        assert (found["number"], found["count"]) == (rank, 2)
        assert found["gathered"][:, 0].tolist() == [1, 1, 2, 2] and found["mask"].tolist() == [False, True]
        own = torch.arange(12.0).view(4, 3)[2 * rank : 2 * rank + 2]
        assert torch.equal(found["gradient"], 3 * own)  # once by its own loss, twice by the other's


def test_the_first_process_passes_before_the_others_and_keeps_none_waiting(two):
    (first, second), folder = two
    assert first["order"] == [] and second["order"] == [folder / "was-here"]


def test_each_process_looks_at_its_share_and_has_all_vectors(two):
    (first, second), _ = two
    assert (first["looked"], second["looked"]) == ([0, 4], [2, 6])
    assert first["vectors"][:, 0, 0].tolist() == second["vectors"][:, 1, 2].tolist() == [1, 1, 3, 3, 5, 5, 7]


def test_the_first_process_alone_writes(two):
    (first, second), folder = two
    assert first["saves"] == [3, 6, 8] and second["saves"] == []
    assert {path.name for path in (folder / "two").iterdir()} == {"checkpoint.safetensors", "history.jsonl"}


def test_a_signal_to_one_process_stops_all_with_a_checkpoint(two):
    (first, second), _ = two
    assert first["ended"] == second["ended"] == SIGNALLED + 1
    same(first["resumed"], first["state"], rtol=0, atol=0)  # and the run goes on as if undisturbed


def test_a_sound_tower_is_trained_by_two_processes(two):
    (first, second), folder = two
    assert first["figures"] == second["figures"] and 0 <= first["figures"]["acc1"] <= 1
    assert first["figures"]["steps"] == 2  # four sounds twice, by two processes of two sounds each
    assert (folder / "audio" / "tower" / "audio.json").is_file()
    assert len((folder / "audio" / "accuracy.jsonl").read_text().splitlines()) == 2


def test_commands_count_all_processes_and_the_first_one_prints(two):
    (first, second), folder = two
    assert second["said"] == ["", ""]
    ssl, cloud = map(json.loads, first["said"])
    assert (ssl["n"], ssl["batch"], ssl["results"][0]["steps"]) == (8, 4, 4)  # eight pictures twice, by two of two each
    assert cloud["clouds"] == 4 and (folder / "pointcloud.safetensors").is_file()


def test_a_card_that_was_named_stays(monkeypatch):
    for name in processes.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    assert processes.own_device("cuda:1") == "cuda:1" and processes.own_device("cuda") == "cuda"
    for name, value in zip(processes.LAUNCHED, ("3", "4", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert processes.own_device("cuda:0") == "cuda:0" and processes.own_device("cuda") == "cuda:1"
    assert processes.own_device("cpu") == "cpu"
