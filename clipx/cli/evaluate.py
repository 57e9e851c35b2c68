"""clipx eval: labelled data -> zero-shot classification figures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._flags import (
    BatchFlag,
    CacheFlag,
    ConfigFlag,
    DeviceFlag,
    DtypeFlag,
    JsonFlag,
    OutFlag,
    PromptsFlag,
    ResumeFlag,
    SeedFlag,
    SpaceFlag,
    WhereFlag,
)
from clipx.errors import InputError

if TYPE_CHECKING:
    import torch


def evaluate(
    modality: Annotated[str, typer.Argument(metavar="MODALITY", help="Who reads the data: image, pointcloud, ...")],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder with labels.csv, a folder of class folders, or an .npz.")
    ],
    where: WhereFlag = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="The words to choose from, a,b,c or @file. Default: the data's classes."),
    ] = None,
    prompts: PromptsFlag = None,
    regime: Annotated[
        str, typer.Option("--regime", help="What the space had seen of such data, such as 'seen classes, new domain'.")
    ] = "unstated",
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    batch_size: BatchFlag = 32,
    seed: SeedFlag = 0,
    cache: CacheFlag = None,
    resume: ResumeFlag = False,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    **settings: Any,
) -> None:
    """Measure how often the right one of the classes' names is found, without training on them.

    acc1, acc5 and mean_per_class_recall are CLIP_benchmark's; the intervals are
    95 % bootstraps over the samples.

    Example: clipx eval image photos/ --where split=test --regime "unseen classes" --json
    """
    from clipx import metrics
    from clipx.api import make_modality, parse_labels
    from clipx.cli._dataset import read_data
    from clipx.cli._flags import settings_of
    from clipx.cli._output import check_writable, emit, print_table, report
    from clipx.cli._work import cache_folder, encode, make_classifier, open_space, read_prompts
    from clipx.registry import get_modality

    check_writable(out)
    cls, chosen = get_modality(modality), settings_of([modality], settings)[modality]
    words, said = parse_labels(labels) if labels is not None else None, read_prompts(prompts)
    rows = read_data(data, cls, [condition(text) for text in where or ()])
    names, targets = _targets(rows.labels, rows.classes if words is None else words)
    joint = open_space(space, device, dtype, seed)
    encoder = make_modality(modality, joint, chosen)
    classifier = make_classifier(joint, names, encoder.prompts if said is None else said)
    embedding = encode(encoder.among(classifier), rows.items, batch_size, cache_folder(cache, resume))

    logits = classifier.logits(embedding).cpu()
    hits = _hits(logits, targets)
    figures = metrics.classification(logits, targets)
    intervals = {
        name: list(metrics.bootstrap_ci95(hits[:, :k].any(axis=1), seed))
        for name, k in (("acc1", 1), ("acc5", 5))
        if figures[name] == figures[name]  # acc5 is NaN under five classes
    }
    per_class = [
        {"label": name, "n": int(of.sum()), "recall": float(hits[of, 0].mean())}
        for k, name in enumerate(names)
        if (of := targets == k).any()
    ]
    record = report(
        "eval",
        per_class,
        dataset=rows.name,
        modality=modality,
        space=joint.name,
        space_id=joint.id,
        space_version=joint.version,
        task="zeroshot_classification",
        language="en",
        n=len(targets),
        labels=len(names),
        metrics=figures,
        ci95=intervals,
        regime=regime,
        where=where or [],
        prompts=prompts or encoder.prompts,
        dropped_prompts=list(classifier.dropped_prompts),
        config=asdict(encoder.config),
        dtype=dtype,
        seed=seed,
        data_sha256=rows.sha256(),
    )

    def table() -> None:
        print_table(
            ("figure", "value", "95 % interval"),
            [
                (name, f"{value:.1%}", "{:.1%} to {:.1%}".format(*intervals[name]) if name in intervals else "")
                for name, value in figures.items()
                if value == value
            ],
            title=f"{rows.name}: {len(targets)} samples, {len(names)} labels, {modality} in {joint.name} ({regime})",
        )

    emit(record, as_json, table, out)


def condition(text: str) -> tuple[str, str]:
    """``column=value`` of ``--where`` as a pair. Raises InputError."""
    column, equals, value = text.partition("=")
    if not equals or not column.strip():
        raise InputError(f"expected column=value, got {text!r}", where="--where")
    return column.strip(), value.strip()


def _targets(labels: Any, names: Any) -> tuple[list[str], Any]:
    """The candidates, and each sample's place among them; ``_`` and case make no difference.

    Raises:
        InputError: samples whose class is no candidate, all such classes in one line.
    """
    import numpy as np

    from clipx.prompts import spoken

    place = {spoken(name).casefold(): k for k, name in enumerate(names)}
    found = [place.get(spoken(label).casefold(), -1) for label in labels]
    stray = sorted({label for label, k in zip(labels, found, strict=True) if k < 0})
    if stray:
        raise InputError(
            f"the data has classes that are not among the labels: {', '.join(stray)}",
            where="--labels",
            remedy="add them, or leave their rows out with --where",
        )
    return list(names), np.array(found)


def _hits(logits: torch.Tensor, targets: Any) -> Any:
    """(N, 5) booleans: is the k-th best label the right one? At equal scores the earlier label is the better."""
    best = logits.argsort(dim=1, descending=True, stable=True)[:, :5].numpy()
    return best == targets[:, None]
