"""clipx bind: any encoder's features -> a joint space, by a map that is fitted in a minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    import numpy as np

    from clipx.datasets import LabelledData
    from clipx.modalities.bound.encoders import Encoder
    from clipx.modalities.bound.map import BoundMap
    from clipx.space import JointSpace


@dataclass(frozen=True)
class BindFlags:
    """What the map learns from, what it is, and what it is measured on."""

    captions: Annotated[bool, typer.Option("--captions", help="Bind by the column caption, and not by labels.")] = False
    paired: Annotated[
        str | None,
        typer.Option("--paired", help="Bind by files that belong to the samples: the column with their paths."),
    ] = None
    kind: Annotated[str, typer.Option("--kind", help="linear, or mlp: a perceptron beside it.")] = "linear"
    ridge: Annotated[float | None, typer.Option("--ridge", help="Of the linear map. Default: by cross-validation.")] = (
        None
    )
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps of the perceptron.", min=1)] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the perceptron's checkpoint.")] = False
    test: Annotated[
        Path | None, typer.Option("--test", help="Labelled samples to measure on. Default: other rows of DATA.")
    ] = None
    test_where: Annotated[
        list[str] | None,
        typer.Option("--test-where", help="As --where, of labelled rows to measure on.", show_default=False),
    ] = None


@takes("where", "prompts", "space", "device", "seed", "as_json", "config")
def bind(
    encoder: Annotated[str, typer.Argument(metavar="ENCODER", help="audio@lite, timm:MODEL, or an installed one.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="labels.csv with path and label, or class folders.")],
    *,
    flags: BindFlags,
    out: Annotated[Path, typer.Option("--out", "-o", help="The map: one .safetensors file.")] = Path(
        "runs/bound.safetensors"
    ),
    run: RunOptions,
) -> None:
    """Bind an encoder to a joint space: a modality of another space, a timm model, or what a package brings.

    Its features are mapped to where the space puts the labels of the samples, their captions, or files that belong
    to them. The file is what --map of the modality bound takes, in classify, embed, eval and index. With --test or
    --test-where it is measured on other samples, beside chance.

    Example: clipx bind audio@lite sounds --where fold=1|2|3 --test-where fold=4 -o sounds.safetensors

    Example: clipx classify rain.wav --modality bound --map sounds.safetensors --labels rain,dog
    """
    from clipx.cli._output import check_model, print_table, report
    from clipx.errors import InputError
    from clipx.modalities.bound.encoders import get_encoder
    from clipx.modalities.bound.fit import BindConfig, fit_map
    from clipx.progress import note

    check_model(out)
    if flags.captions and flags.paired:
        raise InputError("captions and paired exclude each other", remedy="leave one out")
    given = {name: value for name in ("ridge", "steps") if (value := getattr(flags, name)) is not None}
    config = BindConfig(kind=flags.kind, seed=run.seed, **given)
    found = get_encoder(encoder, run.device)
    shown, tested = _read(data, found, flags, run)
    space = run.open_space()
    prompts = run.prompts or getattr(found, "prompts", "photo")
    features, targets = features_of(found, shown), _targets(space, shown, data, flags, prompts)
    made = fit_map(found, encoder, features, targets, space, config, out.with_suffix(""), resume=flags.resume)
    made.save(out)
    note(f"written to {out}")
    results = [] if tested is None else [_measured(made, found, space, tested, prompts)]
    about = {"file": str(out), "encoder": encoder, "space": space.name, "space_id": space.id, "samples": len(features)}
    about |= {"settings": dict(made.settings), "seed": run.seed, "data_sha256": shown.sha256()}
    names = ("n", "labels", "acc1", "ci95", "chance")
    run.emit(
        report("bind", results, **about),
        lambda: print_table(names, [[_cell(row, name) for name in names] for row in results], str(out)),
    )


def _read(data: Path, encoder: Encoder, flags: BindFlags, run: RunOptions) -> tuple[LabelledData, LabelledData | None]:
    """What is bound, and what is measured on."""
    from clipx.cli._flags import condition
    from clipx.datasets import read_captions, read_data
    from clipx.evaluation import require_disjoint
    from clipx.registry import get_modality

    reads = get_modality(encoder.reads)
    column = "caption" if flags.captions else flags.paired
    where = run.conditions()
    shown = read_data(data, reads, where) if column is None else read_captions(data, reads, column, where)
    if flags.test is None and not flags.test_where:
        return shown, None
    tested = read_data(flags.test or data, reads, [condition(text, "--test-where") for text in flags.test_where or []])
    require_disjoint(tested, shown)
    return shown, tested


def _targets(space: JointSpace, data: LabelledData, where: Path, flags: BindFlags, prompts: Any) -> np.ndarray:
    """(N, D) where the space puts what belongs to the samples."""
    from clipx.api import embed
    from clipx.files import table_path
    from clipx.modalities.bound.fit import captions_to_targets

    if flags.paired:
        folder = where if where.is_dir() else where.parent
        paths = list(dict.fromkeys(data.labels))
        rows = embed([table_path(folder, path) for path in paths], space=space).vectors
        place = {path: i for i, path in enumerate(paths)}
        return rows[[place[path] for path in data.labels]]
    return captions_to_targets(space, list(data.labels), "plain" if flags.captions else prompts)


def features_of(encoder: Encoder, data: LabelledData) -> np.ndarray:
    """(N, E) the features of a set's samples. Raises InputError where an installed encoder is given arrays."""
    import numpy as np

    from clipx._arrays import to_array
    from clipx._batches import batches
    from clipx.errors import InputError
    from clipx.modalities.bound.encoders import OtherSpace
    from clipx.pipeline import FileItem, encode_all
    from clipx.progress import progress

    if isinstance(encoder, OtherSpace):
        return np.concatenate([one.vectors.rows for one in encode_all(data.items, encoder.modality)])
    rows = []
    with progress("encoding", len(data.items)) as advance:
        for some in batches(data.items, 32):
            paths = [item.path for item in some if isinstance(item, FileItem)]
            if len(paths) < len(some):
                raise InputError("its samples are arrays, and this encoder reads files", where=data.name)
            rows.append(to_array(encoder.features([encoder.load(path) for path in paths])))
            advance(len(some))
    return np.concatenate(rows)


def _measured(made: BoundMap, encoder: Encoder, space: JointSpace, data: LabelledData, prompts: Any) -> dict[str, Any]:
    """Top-1 by words, with a 95 % bootstrap, and what a guess reaches."""
    import numpy as np

    from clipx.evaluation import targets_of
    from clipx.metrics import bootstrap_ci95
    from clipx.modalities.bound.fit import captions_to_targets

    names, targets = targets_of(data.labels, data.classes)
    words = captions_to_targets(space, names, prompts)
    right = (made(features_of(encoder, data)) @ words.T).argmax(1) == np.asarray(targets)
    row: dict[str, Any] = {"n": len(right), "labels": len(names), "acc1": float(right.mean())}
    return row | {"ci95": bootstrap_ci95(right), "chance": 1 / len(names)}


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if isinstance(value, Sequence):
        return f"{value[0]:.1%} to {value[1]:.1%}"
    return f"{value:.1%}" if isinstance(value, float) else str(value)
