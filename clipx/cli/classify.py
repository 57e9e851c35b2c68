"""clipx classify: files -> words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from clipx.zeroshot import Prediction

LabelsFlag = Annotated[str, typer.Option("--labels", help="The words to choose from: a,b,c or @file, one a line.")]


@takes("modality", "prompts", "space", "device", "dtype", "backend", "batch_size", "seed", "out", "as_json", "config")
def classify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Photos, clouds, sounds, ..., folders of them.")],
    labels: LabelsFlag,
    top: Annotated[int, typer.Option("--top", help="How many labels to name for each file.", min=1)] = 5,
    none_threshold: Annotated[
        float | None,
        typer.Option("--none-threshold", help="A raw cosine: where no label reaches it, the answer is 'none'."),
    ] = None,
    *,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Name what is in each file by one of the words you give.

    The raw cosine says how well a word fits; the probability says which of
    these words fits best, and sums to 100 % even where none is right. A file that
    cannot be read is named at the end, and the exit status is then 2.

    Example: clipx classify chair.ply photo.jpg --labels chair,table,airplane
    """
    from clipx.api import parse_labels
    from clipx.cli._output import report
    from clipx.cli._work import encode, encoders, files_in, make_classifier, read_prompts
    from clipx.modality import bound
    from clipx.pipeline import file_items

    run.check_writable()
    given = files_in(paths, run.modality)
    words, prompts, items = parse_labels(labels), read_prompts(run.prompts), file_items(given.files)
    if not items:
        run.conclude(report("classify", []), given.failures, lambda: None, given.skipped)
    attach = encoders(given.files, run.modality, settings)
    joint = run.open_space()
    found: dict[str, tuple[str, list[Prediction]]] = {}
    modalities = {}
    for encoder, rows in attach(joint):
        classifier = make_classifier(joint, words, encoder.prompts if prompts is None else prompts, none_threshold)
        group = [items[i] for i in rows]
        embedding = encode(bound(encoder, classifier), group, run.batch_size, failures=given.failures)
        for path, predictions in zip(embedding.ids, classifier.predict(embedding, top), strict=True):
            found[path] = (encoder.name, predictions)
        how = {"config": asdict(encoder.config), "tuned_on": encoder.tuned_on}
        modalities[encoder.name] = {"prompts": run.prompts or encoder.prompts, **how}
    named = [(item.id, *found[item.id]) for item in items if item.id in found]
    results = [
        {"path": path, "modality": name, "predictions": [asdict(p) for p in predictions]}
        for path, name, predictions in named
    ]

    about = {"space": joint.name, "space_id": joint.id, "dtype": run.dtype}
    record = report("classify", results, modalities=modalities, seed=run.seed, **about)
    run.conclude(record, given.failures, lambda: _print(named), given.skipped)


def _print(named: Sequence[tuple[str, str, list[Prediction]]]) -> None:
    from clipx.cli._output import print_grouped

    tables = [
        (path, name, [(p.label, f"{p.cosine:.3f}", f"{p.probability:.1%}") for p in predictions])
        for path, name, predictions in named
    ]
    print_grouped("file", ("label", "cosine", "probability"), tables)
