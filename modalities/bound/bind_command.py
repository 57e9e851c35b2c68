"""clipx bind: any encoder's features -> a joint space, by a map that is fitted in a minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import ClipxError, InputError

if TYPE_CHECKING:
    import numpy as np

    from clipx.datasets import LabelledData
    from clipx.modalities.bound.encoders import Encoder
    from clipx.modalities.bound.modality import Bound
    from clipx.modality import Modality
    from clipx.pipeline import Item
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
    """Bind an encoder to a joint space: a modality of another space, a timm model,
    or what a package brings.

    Its features are mapped to where the space puts the labels of the samples,
    their captions, or files that belong to them. The file is what --map of the
    modality bound takes, in classify, embed, eval and index. With --test or
    --test-where it is measured on other samples, beside chance. A file that
    cannot be read is left out and named at the end, and the exit status is then
    2.

    Example: clipx bind audio@lite sounds --where fold=1|2|3 --test-where fold=4 -o sounds.safetensors

    Example: clipx classify rain.wav --modality bound --map sounds.safetensors --labels rain,dog
    """
    from clipx.cli._output import check_model, print_table, report
    from clipx.modalities.bound.encoders import get_encoder
    from clipx.modalities.bound.fit import BindConfig, fit_map
    from clipx.modalities.bound.modality import Bound, BoundConfig
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
    features, kept, failures = features_of(found, shown.items)
    targets = _targets(space, [shown.labels[i] for i in kept], data, flags, prompts)
    made = fit_map(found, encoder, features, targets, space, config, out.with_suffix(""), resume=flags.resume)
    made.save(out)
    note(f"written to {out}")
    results = [] if tested is None else [_measured(Bound(space, BoundConfig(map=str(out))), tested, prompts, failures)]
    about = {"file": str(out), "encoder": encoder, "space": space.name, "space_id": space.id, "samples": len(features)}
    about |= {"settings": dict(made.settings), "seed": run.seed, "data_sha256": shown.sha256()}
    names = ("n", "labels", "acc1", "ci95", "chance")
    run.conclude(
        report("bind", results, **about),
        failures,
        lambda: print_table(names, [[_cell(row, name) for name in names] for row in results], str(out)),
        made=True,
    )


def _read(data: Path, encoder: Encoder, flags: BindFlags, run: RunOptions) -> tuple[LabelledData, LabelledData | None]:
    """What is bound, and what is measured on."""
    from clipx.cli._flags import conditions
    from clipx.datasets import read_captions, read_data
    from clipx.evaluation import require_disjoint
    from clipx.registry import get_modality

    reads = get_modality(encoder.reads)
    column = "caption" if flags.captions else flags.paired
    where = run.conditions()
    shown = read_data(data, reads, where) if column is None else read_captions(data, reads, column, where)
    if flags.test is None and not flags.test_where:
        return shown, None
    tested = read_data(flags.test or data, reads, conditions(flags.test_where, "--test-where"))
    require_disjoint(tested, shown)
    return shown, tested


def _targets(space: JointSpace, labels: Sequence[str], where: Path, flags: BindFlags, prompts: Any) -> np.ndarray:
    """(N, D) where the space puts what belongs to the samples."""
    from clipx.api import embed
    from clipx.files import table_path
    from clipx.modalities.bound.fit import captions_to_targets

    if flags.paired:
        folder = where if where.is_dir() else where.parent
        paths = list(dict.fromkeys(labels))
        rows = embed([table_path(folder, path) for path in paths], space=space).vectors
        place = {path: i for i, path in enumerate(paths)}
        return rows[[place[path] for path in labels]]
    return captions_to_targets(space, labels, "plain" if flags.captions else prompts)


def features_of(encoder: Encoder, items: Sequence[Item]) -> tuple[np.ndarray, list[int], dict[str, ClipxError]]:
    """The features of those of N items that can be read.

    Returns:
        (K, E) features, the numbers of these K items, and why the others have none.

    Raises:
        ClipxError: none can be read, or an installed encoder is given arrays.
    """
    import numpy as np

    from clipx._arrays import to_array
    from clipx._batches import batches
    from clipx.modalities.bound.encoders import OtherSpace
    from clipx.pipeline import FileItem
    from clipx.progress import progress

    if isinstance(encoder, OtherSpace):
        return _encoded(encoder.modality, items)
    rows, kept, failures = list[Any](), list[int](), dict[str, ClipxError]()
    with progress("encoding", len(items)) as advance:
        for some in batches(enumerate(items), 32):
            samples = []
            for i, item in some:
                if not isinstance(item, FileItem):
                    raise InputError("its samples are arrays, and this encoder reads files", where=encoder.id)
                try:
                    samples.append(encoder.load(item.path))
                    kept.append(i)
                except ClipxError as error:
                    failures[item.id] = error
            if samples:
                rows.append(to_array(encoder.features(samples)))
            advance(len(some))
    if not rows:
        raise next(iter(failures.values()))
    return np.concatenate(rows), kept, failures


def _encoded(modality: Modality, items: Sequence[Item]) -> tuple[np.ndarray, list[int], dict[str, ClipxError]]:
    """As ``features_of``: the vectors that a modality makes of the items."""
    from itertools import chain

    import numpy as np

    from clipx.pipeline import Failed, encode

    rows, kept, failures = list[Any](), list[int](), dict[str, ClipxError]()
    for i, one in enumerate(chain.from_iterable(encode(items, modality, on_error="record"))):
        if not isinstance(one, Failed):
            rows.append(one.vectors.rows)
            kept.append(i)
        elif isinstance(one.error, ClipxError):
            failures[one.item.id] = one.error
        else:
            raise one.error
    if not rows:
        raise next(iter(failures.values()))
    return np.concatenate(rows), kept, failures


def _measured(bound: Bound, data: LabelledData, prompts: Any, failures: dict[str, ClipxError]) -> dict[str, Any]:
    """Top-1 by words as the modality has it, see ``by_words``, and what a guess reaches."""
    from clipx.embedding import Embedding
    from clipx.evaluation import by_words

    rows, kept, unread = _encoded(bound, data.items)
    failures |= unread
    vectors, labels = Embedding(rows, bound.space.id, bound.name), [data.labels[i] for i in kept]
    found = by_words(vectors, bound.space, labels, data.classes, prompts)
    names = len(data.classes)
    return {"n": found["n"], "labels": names, "acc1": found["acc1"], "ci95": found["ci95"], "chance": 1 / names}


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if isinstance(value, Sequence):
        return f"{value[0]:.1%} to {value[1]:.1%}"
    return f"{value:.1%}" if isinstance(value, float) else str(value)
