"""clipx train video: clips with labels or captions -> a head that the video modality takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.modalities.video.data import Texts
    from clipx.space import JointSpace


@dataclass(frozen=True)
class TrainFlags:
    """What is learned, how, and what it is measured on."""

    head: Annotated[
        str, typer.Option("--head", help="seqtransf, seqlstm, tight (CLIP4Clip), transf, transf_cls, conv1d.")
    ] = "seqtransf"
    captions: Annotated[
        bool, typer.Option("--captions", help="Learn from the column caption, and not from the labels.")
    ] = False
    test_where: Annotated[
        list[str] | None,
        typer.Option("--test-where", help="As --where, of the rows that it is measured on.", show_default=False),
    ] = None
    layers: Annotated[int | None, typer.Option("--layers", help="Of the head.", min=1)] = None
    steps: Annotated[
        int | None, typer.Option("--steps", help="Training steps. Default: 5 epochs, at least 300.", min=1)
    ] = None
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Clips a step. Default: 128.", min=2)] = None
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate. Default: 1e-4.")] = None
    uniform: Annotated[
        int, typer.Option("--uniform", help="Frames of each clip, evenly spread; 0: by --fps.", min=0)
    ] = 8
    fps: Annotated[float, typer.Option("--fps", help="Frames of a second, where --uniform is 0.")] = 1.0
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside the head.")] = False


@takes("where", "space", "device", "seed", "as_json", "config")
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder with labels.csv: path,label[,caption].")],
    *,
    flags: TrainFlags,
    out: Annotated[Path, typer.Option("--out", "-o", help="The head: one .safetensors file.")] = Path(
        "runs/video/head.safetensors"
    ),
    run: RunOptions,
) -> None:
    """Train a head on the frames of clips; the space itself stays as it is.

    The vectors of the frames are computed once, and kept in a folder beside the
    head, named as it is, with the checkpoints. The file is what --head of the video
    modality takes. Without --test-where the figures are of the clips that were
    learned from: they say whether anything was learned, and nothing of other clips.

    Example: clipx train video clips --where split=train --test-where split=test -o head.safetensors
    """
    from clipx.cli._output import check_model, report
    from clipx.modalities.video.config import VideoConfig
    from clipx.modalities.video.train import VideoTrainConfig, fit_head, mean_head, measure
    from clipx.progress import note

    check_model(out)
    own = {name: getattr(flags, name) for name in ("layers", "steps", "batch_size", "lr")}
    given = {name: value for name, value in own.items() if value is not None}
    config = VideoTrainConfig(head=flags.head, seed=run.seed, **given)
    sampling = VideoConfig(fps=flags.fps, uniform=flags.uniform)
    shown, tested = _read(data, flags, run)
    space, folder = run.open_space(), out.with_suffix("")
    texts, frames = _prepare(space, shown, flags.captions, sampling, folder)
    device = str(space.device)
    head = fit_head(space, frames, texts, sampling, config, folder, resume=flags.resume, device=device)
    head.save(out)
    note(f"written to {out}")
    measured = shown if tested is None else tested
    if tested is not None:
        texts, frames = _prepare(space, tested, flags.captions, sampling, folder)
    heads = {"mean": mean_head(space, sampling), head.kind: head}
    results = measure(heads, frames, [item.id for item in measured.items], texts, run.seed)
    about: dict[str, Any] = {"dataset": shown.name, "space": space.name, "space_id": space.id, "file": str(out)}
    about |= {"head": head.kind, "sampling": head.sampling, "settings": head.settings, "clips": len(shown.items)}
    about |= {"test_clips": None if tested is None else len(tested.items), "where": run.where or []}
    about |= {"test_where": flags.test_where or [], "seed": run.seed, "data_sha256": shown.sha256()}
    title = f"{out}: {'the clips it learned from' if tested is None else f'{len(tested.items)} other clips'}"
    run.emit(report("train video", results, **about), lambda: _print(results, title))


def _read(data: Path, flags: TrainFlags, run: RunOptions) -> tuple[LabelledData, LabelledData | None]:
    """The clips to learn from, and those to measure on."""
    from clipx.cli._flags import conditions
    from clipx.datasets import read_captions, read_data
    from clipx.evaluation import require_disjoint
    from clipx.modalities.video.modality import Video

    def read(where: Sequence[tuple[str, str]]) -> LabelledData:
        return read_captions(data, Video, where=where) if flags.captions else read_data(data, Video, where)

    shown = read(run.conditions())
    if not flags.test_where:
        return shown, None
    tested = read(conditions(flags.test_where, "--test-where"))
    require_disjoint(tested, shown, "--test-where", "see --where")
    return shown, tested


def _prepare(space: JointSpace, data: LabelledData, captions: bool, sampling: Any, folder: Path) -> tuple[Texts, Any]:
    """What is said of the clips, and the vectors of their frames."""
    from clipx.modalities.video.data import caption_texts, frame_vectors, label_texts
    from clipx.modalities.video.modality import Video
    from clipx.progress import progress

    texts = (caption_texts if captions else label_texts)(space, data)
    with progress("looking at frames", len(data.items)) as advance:
        return texts, frame_vectors(Video(space, sampling), data, folder / "frames", advance)


def _print(results: Sequence[Mapping[str, Any]], title: str) -> None:
    from clipx.captions import cells
    from clipx.cli._output import print_table

    if "acc1" in results[0]:
        names = ["acc1", *(["acc5"] if results[0]["acc5"] is not None else [])]
        lines = [[row["head"], *(_share(row, name) for name in names)] for row in results]
        lines.append(["chance", *(f"{results[0]['chance'][name]:.1%}" for name in names)])
        print_table(("head", *(name.replace("acc", "top-") for name in names)), lines, title)
        return
    ways = [way for way in results[0] if way != "head"]
    names = [key for key in ("R@1", "R@5", "R@10", "MdR", "MnR") if any(key in results[0][way] for way in ways)]
    lines = []
    for way in ways:
        said = way.replace("_", " ")
        lines += [[said, row["head"], *(cells(row[way], name) for name in names)] for row in results]
        chance = results[0][way]["chance"]
        shown = {name: f"{value:.1%}" if name.startswith("R@") else f"{value:.1f}" for name, value in chance.items()}
        lines.append([said, "chance", *(shown.get(name, "") for name in names)])
    print_table(("way", "head", *names), lines, title)


def _share(row: Mapping[str, Any], name: str) -> str:
    low, high = row["ci95"][name]
    return f"{row[name]:.1%} ({100 * low:.1f} to {high:.1%})"
