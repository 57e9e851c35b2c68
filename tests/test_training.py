"""The losses against their definitions, and the loop: resumable to the bit, averaged, stoppable."""

import errno
import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from clipx.errors import ClipxError, FileError
from clipx.training import TrainConfig, contrastive_loss, loop, plot_history, sigmoid_loss, train


def unit(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_contrastive_loss_with_one_positive_is_clips():
    a, b, scale = unit(6, 0), unit(6, 1), torch.tensor(20.0, dtype=torch.float64)
    logits, arange = scale * a @ b.T, torch.arange(6)
    expected = (F.cross_entropy(logits, arange) + F.cross_entropy(logits.T, arange)) / 2
    torch.testing.assert_close(contrastive_loss(a, b, scale, torch.eye(6, dtype=torch.float64)), expected)


def test_contrastive_loss_with_many_positives_by_hand():
    a, b, scale = unit(3, 2), unit(4, 3), torch.tensor(5.0, dtype=torch.float64)
    targets = torch.tensor([[1, 1, 0, 0], [0, 0, 2, 1], [0, 0, 0, 0]], dtype=torch.float64)
    ignore = torch.zeros(3, 4, dtype=torch.bool)
    ignore[0, 2] = ignore[0, 0] = True  # the second is a positive: a match is never ignored
    logits = (scale * a @ b.T).tolist()

    def cross_entropy(values, weights, skip):
        total = math.log(sum(math.exp(v) for v, s in zip(values, skip, strict=True) if not s))
        return sum(w / sum(weights) * (total - v) for v, w in zip(values, weights, strict=True) if w)

    no = [False] * 4
    by_row = [
        cross_entropy(logits[0], [1, 1, 0, 0], [False, False, True, False]),
        cross_entropy(logits[1], [0, 0, 2, 1], no),
    ]
    columns = list(zip(*logits, strict=True))
    by_column = [
        cross_entropy(columns[0], [1, 0, 0], no[:3]),
        cross_entropy(columns[1], [1, 0, 0], no[:3]),
        cross_entropy(columns[2], [0, 2, 0], [True, False, False]),
        cross_entropy(columns[3], [0, 1, 0], no[:3]),
    ]
    expected = (sum(by_row) / 2 + sum(by_column) / 4) / 2
    assert float(contrastive_loss(a, b, scale, targets, ignore)) == pytest.approx(expected, rel=1e-12)


def test_sigmoid_loss_by_hand():
    a, b = unit(2, 4), unit(3, 5)
    scale, bias = torch.tensor(10.0, dtype=torch.float64), torch.tensor(-3.0, dtype=torch.float64)
    targets = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    ignore = torch.tensor([[False, True, False], [False, True, False]])
    total = 0.0
    for i in range(2):
        for j in range(3):
            z = float(scale * a[i] @ b[j] + bias)
            if targets[i, j] or not ignore[i, j]:
                total += math.log1p(math.exp(-z if targets[i, j] else z))
    assert float(sigmoid_loss(a, b, scale, bias, targets, ignore)) == pytest.approx(total / 2, rel=1e-9)


def test_contrastive_loss_without_a_positive_is_zero():
    assert float(contrastive_loss(unit(3, 0), unit(3, 1), torch.tensor(9.0), torch.zeros(3, 3))) == 0.0


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_losses_have_right_gradients(loss):
    a, b = unit(4, 6).requires_grad_(), unit(5, 7).requires_grad_()
    scale, bias = torch.tensor(3.0, dtype=torch.float64, requires_grad=True), torch.tensor(-1.0, dtype=torch.float64)
    targets = torch.zeros(4, 5, dtype=torch.float64)
    targets[[0, 1, 2, 2], [0, 3, 1, 2]] = 1
    ignore = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) < 0.2
    function = {
        "softmax": lambda a, b, s: contrastive_loss(a, b, s, targets, ignore),
        "sigmoid": lambda a, b, s: sigmoid_loss(a, b, s, bias, targets, ignore),
    }[loss]
    assert torch.autograd.gradcheck(function, (a, b, scale))


def line_fit(module: nn.Module, step: int, draw: int) -> dict[str, torch.Tensor]:
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(draw))
    return {"loss": (module(x).squeeze(1) - x.sum(1)).square().mean()}


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


CONFIG = TrainConfig(steps=12, lr=0.05, warmup=2, ema=0.5, checkpoint_every=5)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_training_learns_and_is_deterministic(tmp_path):
    first, second = (train(linear(), line_fit, CONFIG, tmp_path / name) for name in "ab")
    assert same(first, second) and not first.training
    losses = [json.loads(line)["loss"] for line in (tmp_path / "a" / "history.jsonl").read_text().splitlines()]
    assert len(losses) == 12 and losses[-1] < losses[0] / 2
    assert plot_history(tmp_path / "a").stat().st_size > 1000


def test_a_stopped_run_resumes_to_the_bit(tmp_path):
    whole = train(linear(), line_fit, CONFIG, tmp_path / "whole")
    train(linear(), line_fit, CONFIG, tmp_path / "parts", stop_after=7)
    parts = train(linear(1), line_fit, CONFIG, tmp_path / "parts", resume=True)  # its own start is overwritten
    assert same(whole, parts)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "history.jsonl").read_text().splitlines()]
    assert steps == list(range(12))


def test_the_gradient_scale_of_half_precision_is_kept_with_the_checkpoint(tmp_path):
    def steep(module, step, draw):  # the scale of the start overflows float16, so it is halved
        return {"loss": 30 * line_fit(module, step, draw)["loss"]}

    half = replace(CONFIG, mixed_precision="fp16")
    whole = train(linear(), steep, half, tmp_path / "whole")
    train(linear(), steep, half, tmp_path / "parts", stop_after=7)
    with safe_open(tmp_path / "parts" / "checkpoint.safetensors", "pt") as file:
        assert json.loads(file.metadata()["scaler"])["scale"] < torch.amp.GradScaler("cpu").get_scale()
    assert same(whole, train(linear(1), steep, half, tmp_path / "parts", resume=True))


def test_a_term_signal_stops_as_ctrl_c_does(tmp_path):
    def terminated(module, step, draw):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return line_fit(module, step, draw)

    with pytest.raises(KeyboardInterrupt):
        train(linear(), terminated, CONFIG, tmp_path)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 4


def test_a_signal_while_the_last_checkpoint_is_written_is_not_lost(tmp_path, monkeypatch):
    """A recipe has several parts: the next one must not begin."""
    save = loop.save_checkpoint

    def signalled(*given):
        save(*given)
        if given[-1] == CONFIG.steps:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "save_checkpoint", signalled)
    with pytest.raises(KeyboardInterrupt):
        train(linear(), line_fit, CONFIG, tmp_path)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == CONFIG.steps


def test_runs_of_two_precisions_in_one_process(tmp_path):
    for precision in ("no", "bf16", "fp16"):
        found = train(linear(), line_fit, replace(CONFIG, mixed_precision=precision), tmp_path / precision)
        assert {value.dtype for value in found.parameters()} == {torch.float32}
    with pytest.raises(ClipxError, match="mixed_precision must be no, fp16, bf16, got 'fp8'"):
        train(linear(), line_fit, replace(CONFIG, mixed_precision="fp8"), tmp_path / "fp8")


def test_ctrl_c_saves_and_the_run_resumes_to_the_bit(tmp_path, capfd):
    whole = train(linear(), line_fit, CONFIG, tmp_path / "whole")

    def interrupted(module, step, draw):
        if step == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return line_fit(module, step, draw)

    with pytest.raises(KeyboardInterrupt):
        train(linear(), interrupted, CONFIG, tmp_path / "parts")
    assert f"stopped after step 9 of {CONFIG.steps}; a run that resumes goes on from there\n" in capfd.readouterr().err
    assert same(whole, train(linear(), line_fit, CONFIG, tmp_path / "parts", resume=True))


def test_resume_refuses_another_runs_checkpoint_and_a_lost_loss_is_an_error(tmp_path):
    train(linear(), line_fit, CONFIG, tmp_path)
    with pytest.raises(ClipxError, match=r"other settings \(lr, steps\);"):
        train(linear(), line_fit, replace(CONFIG, steps=99, lr=0.5), tmp_path, resume=True)
    with pytest.raises(ClipxError, match=r"other settings \(data\)"):
        train(linear(), line_fit, CONFIG, tmp_path, identity={"data": "others"}, resume=True)
    with pytest.raises(ClipxError, match="--resume"):
        train(linear(), line_fit, CONFIG, tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half")
    with pytest.raises(ClipxError, match="corrupt"):
        train(linear(), line_fit, CONFIG, tmp_path, resume=True)
    with pytest.raises(ClipxError, match="lower the learning rate"):
        train(linear(), lambda m, s, d: {"loss": m(torch.ones(2, 4)).mean() * float("nan")}, CONFIG, tmp_path / "nan")


@pytest.mark.parametrize("about", [None, {}, {"run": "{}"}, {"run": "{", "step": "1", "scaler": "{}"}])
def test_a_checkpoint_of_something_else_is_refused_in_one_line(tmp_path, about):
    save_file({"weight": torch.ones(2)}, tmp_path / "checkpoint.safetensors", about)
    with pytest.raises(FileError, match="the checkpoint is corrupt"):
        train(linear(), line_fit, CONFIG, tmp_path, resume=True)


def test_the_picture_of_a_loss_curve_is_whole_or_the_old_one(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def full(self, file, **options):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    (tmp_path / "history.jsonl").write_text('{"step": 0, "loss": 1.0, "lr": 0.1, "s": 0.1}\n')
    (tmp_path / "loss.png").write_bytes(b"old")
    with pytest.raises(FileError, match="No space left on device"):
        plot_history(tmp_path)
    assert (tmp_path / "loss.png").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.jsonl", "loss.png"]
