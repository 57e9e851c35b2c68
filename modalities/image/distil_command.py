"""clipx distil: photos without labels -> a small space that stands in for a large one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import ClipxError, FileError, InputError

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.space import JointSpace

_TIMED = 32  # pictures in a batch whose time is measured
_REPEATS = 5


@dataclass(frozen=True)
class DistilFlags:
    """What the student is, and how it learns."""

    student: Annotated[
        str | None, typer.Option("--student", help="A timm model, or resnet-WIDTH. Default: resnet10t.")
    ] = None
    size: Annotated[int | None, typer.Option("--size", help="Pixels a side that it looks at. Default: 96.")] = None
    crops: Annotated[int | None, typer.Option("--crops", help="Of each photo. Default: 4.", min=1)] = None
    affinity: Annotated[
        float | None, typer.Option("--affinity", help="Weight of the affinities beside the cosine. Default: 1.", min=0)
    ] = None
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps. Default: 3000.", min=1)] = None
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Crops a step. Default: 64.", min=2)] = None
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate. Default: 0.002.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from what is in --out.")] = False
    test: Annotated[
        Path | None,
        typer.Option("--test", help="Labelled photos that both are measured on: a folder with labels.csv or classes."),
    ] = None
    test_where: Annotated[
        list[str] | None, typer.Option("--test-where", help="As --where, of --test.", show_default=False)
    ] = None


@takes("where", "space", "device", "seed", "as_json", "config")
def distil(
    data: Annotated[Path, typer.Argument(metavar="PHOTOS", help="A folder of photos; labels are not needed.")],
    *,
    flags: DistilFlags,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for checkpoints and the finished space, FOLDER/space.")
    ] = Path("runs/distil"),
    run: RunOptions,
) -> None:
    """Teach a small image tower where a space puts photos; the text side stays.

    The result, --out/space, is a space: --space takes it everywhere. What is
    known of it is how near its vectors lie to the teacher's on photos that were
    held out, its size and its speed; with --test also the accuracy of both. Of
    a space with picture domains (lite) it learns that of photos. A photo that
    cannot be read is left out and named at the end, and the exit status is then
    2.

    Example: clipx distil photos --space ViT-L-14/openai -o runs/small

    Example: clipx distil photos -o runs/small --test birds --test-where split=test
    """
    from clipx import _processes as processes
    from clipx.cli._output import print_table, report
    from clipx.evaluation import note_shared
    from clipx.modalities.image.distil import DistilConfig
    from clipx.modalities.image.distil import distil as learn
    from clipx.pipeline import file_items
    from clipx.progress import note

    own = {name: getattr(flags, name) for name in ("student", "size", "crops", "affinity", "steps", "batch_size", "lr")}
    config = DistilConfig(seed=run.seed, **{name: value for name, value in own.items() if value is not None})
    config.vision_cfg()  # refuses an unknown one before the work
    failures = dict[str, ClipxError]()
    photos, tested = _photos(data, run, failures), _tested(flags)
    if not photos and not failures:
        raise InputError("holds no pictures", where=data)
    shared = None if tested is None else note_shared(tested, file_items([Path(path) for path in photos]))
    space = run.open_space()  # on the CPU by onnxruntime where it has graphs: it looks several times as fast
    results = [_measured(run.open_space(backend="torch"), tested)]  # a bad file of the test is found before the work
    found = learn(space, photos, out, config, resume=flags.resume)
    if processes.rank() > 0:  # the first process prints
        return
    results.append(_measured(run.open_space(str(found.folder), backend="torch"), tested))
    about: dict[str, Any] = {"space": str(found.folder), "teacher": space.id, "photos": found.photos}
    about |= {"held_out": found.held_out, "cosine": found.cosine, "found": found.found}
    about |= {"test": None if tested is None else tested.name, "shared": shared, "seed": run.seed}
    note(
        f"written to {found.folder}: on {found.held_out} photos that were held out, cosine with the teacher "
        f"{found.cosine:.3f}, nearest to its own photo's vector {found.found:.0%}"
    )
    names = ("space", "parameters", "pictures_per_s", *(() if tested is None else ("acc1", "ci95")))
    failures |= {path: FileError(why) for path, why in found.left_out.items()}
    run.conclude(
        report("distil", results, **about),
        failures,
        lambda: print_table(names, [[_cell(row, name) for name in names] for row in results]),
    )


def _photos(data: Path, run: RunOptions, failures: dict[str, ClipxError]) -> list[str]:
    """The files to learn from: all pictures in the folder, or those rows of its table that --where keeps.

    What of the folder cannot be listed or taken goes to ``failures``.
    """
    from clipx.datasets import read_data
    from clipx.index.scan import find_files
    from clipx.modalities.image import Image
    from clipx.pipeline import FileItem

    if run.where:
        items = read_data(data, Image, run.conditions()).items
        return [str(item.path) for item in items if isinstance(item, FileItem)]
    walk = find_files([data], Image.name)
    failures |= walk.errors()
    return [file.path for file in walk.files]


def _tested(flags: DistilFlags) -> LabelledData | None:
    from clipx.cli._flags import conditions
    from clipx.datasets import read_data
    from clipx.modalities.image import Image

    if flags.test is None:
        return None
    return read_data(flags.test, Image, conditions(flags.test_where, "--test-where"))


def _measured(space: JointSpace, tested: LabelledData | None) -> dict[str, Any]:
    return {
        "space": space.name,
        **_size(space),
        **_speed(space),
        **({} if tested is None else _accuracy(space, tested)),
    }


def _size(space: JointSpace) -> dict[str, int]:
    return {"parameters": sum(one.numel() for one in space.backbone.model.visual.parameters())}


def _speed(space: JointSpace) -> dict[str, float]:
    """Pictures a second in batches, the median."""
    import numpy as np

    pixels = np.zeros((_TIMED, 3, *space.preprocess.size), np.float32)
    seconds = []
    for _ in range(1 + _REPEATS):
        begun = time.perf_counter()
        space.encode_image(pixels)
        seconds.append(time.perf_counter() - begun)
    return {"pictures_per_s": _TIMED / float(np.median(seconds[1:]))}


def _accuracy(space: JointSpace, data: LabelledData) -> dict[str, Any]:
    """See ``by_words``."""
    from clipx.evaluation import by_words
    from clipx.modalities.image import Image, ImageConfig
    from clipx.pipeline import embedding_of, encode_all

    encoder = Image(space, ImageConfig(domain="photo"))
    vectors = embedding_of(encode_all(data.items, encoder), encoder)
    return by_words(vectors, space, data.labels, data.classes, encoder.prompts)


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if name == "ci95":
        return f"{value[0]:.1%} to {value[1]:.1%}"
    return f"{value:.1%}" if name == "acc1" else value if isinstance(value, str) else f"{value:,.0f}"
