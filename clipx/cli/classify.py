"""clipx classify: files -> words."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._flags import (
    BatchFlag,
    ConfigFlag,
    DeviceFlag,
    DtypeFlag,
    JsonFlag,
    ModalityFlag,
    OutFlag,
    PromptsFlag,
    SeedFlag,
    SpaceFlag,
)

LabelsFlag = Annotated[str, typer.Option("--labels", help="The words to choose from: a,b,c or @file, one a line.")]


def classify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Photos, clouds, sounds, ..., folders of them.")],
    labels: LabelsFlag,
    modality: ModalityFlag = None,
    top: Annotated[int, typer.Option("--top", help="How many labels to name for each file.", min=1)] = 5,
    prompts: PromptsFlag = None,
    none_threshold: Annotated[
        float | None,
        typer.Option(
            "--none-threshold",
            help="A raw cosine: where no label reaches it, the answer is 'none'.",
            show_default=False,
        ),
    ] = None,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    batch_size: BatchFlag = 32,
    seed: SeedFlag = 0,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    **settings: Any,
) -> None:
    """Name what is in each file by one of the words you give.

    The raw cosine says how well a word fits; the probability says which of
    these words fits best, and sums to 100 % even where none is right. A file that
    cannot be read is named at the end, and the exit status is then 2.

    Example: clipx classify chair.ply photo.jpg --labels chair,table,airplane
    """
    from clipx.api import parse_labels
    from clipx.cli._output import check_writable, print_grouped, report
    from clipx.cli._work import (
        conclude,
        encode,
        encoders,
        files_in,
        make_classifier,
        open_space,
        read_prompts,
    )
    from clipx.modality import bound
    from clipx.pipeline import file_items
    from clipx.zeroshot import Prediction

    check_writable(out)
    given = files_in(paths, modality)
    failures = given.failures
    words, said, items = parse_labels(labels), read_prompts(prompts), file_items(given.files)
    if not items:
        conclude(report("classify", []), failures, as_json, lambda: None, out, given.passed_over)
    attach = encoders(given.files, modality, settings)
    joint = open_space(space, device, dtype, seed)
    found: dict[str, tuple[str, list[Prediction]]] = {}
    used = attach(joint)
    for encoder, rows in used:
        classifier = make_classifier(joint, words, encoder.prompts if said is None else said, none_threshold)
        embedding = encode(bound(encoder, classifier), [items[i] for i in rows], batch_size, failures=failures)
        for path, predictions in zip(embedding.ids, classifier.predict(embedding, top), strict=True):
            found[path] = (encoder.name, predictions)
    named = [(item.id, *found[item.id]) for item in items if item.id in found]
    results = [
        {"path": path, "modality": name, "predictions": [asdict(p) for p in predictions]}
        for path, name, predictions in named
    ]

    def table() -> None:
        tables = [
            (path, name, [(p.label, f"{p.cosine:.3f}", f"{p.probability:.1%}") for p in predictions])
            for path, name, predictions in named
        ]
        print_grouped("file", ("label", "cosine", "probability"), tables)

    senses = {
        encoder.name: {
            "prompts": prompts or encoder.prompts,
            "config": asdict(encoder.config),
            "tuned_on": encoder.tuned_on,
        }
        for encoder, _ in used
    }
    about = {"space": joint.name, "space_id": joint.id, "dtype": dtype, "seed": seed}
    record = report("classify", results, senses=senses, **about)
    conclude(record, failures, as_json, table, out, given.passed_over)
