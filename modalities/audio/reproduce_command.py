"""clipx reproduce audioclip: the published zero-shot figures beside what is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes


@takes(
    *("where", "prompts", "space", "device", "batch_size", "cache", "resume", "out", "as_json", "config"),
    batch_size=8,
)
def audioclip(
    data: Annotated[Path, typer.Option("--data", help="The folder of ESC-50 or UrbanSound8K, as it is handed out.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="AudioCLIP-Partial-Training.pt, or a tower's folder.")
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Measure zero-shot sound classification as AudioCLIP does, and print the published figure beside it.

    Clips are fed as its code feeds them: centred in 5 s (ESC-50), or the first 4 s
    in full scale and on both channels (UrbanSound8K). Rows that must not be mixed:
    the bare label, as released; and the best of several prompts, chosen on the
    very labels it is measured on. Each fold's figure stands beside that of all clips.

    Example: clipx reproduce audioclip --data ESC-50-master --weights AudioCLIP-Partial-Training.pt \\
    --space RN50-quickgelu/openai
    """
    from clipx.cli._output import report
    from clipx.cli._work import encode, make_classifier, read_prompts, versions
    from clipx.datasets import read_data
    from clipx.evaluation import targets_of
    from clipx.figures import figures_of
    from clipx.modalities.audio.encoder import Audio, AudioConfig
    from clipx.modalities.audio.reproduce import PAPER, PUBLISHED, compared, layout_in, released, rows_of

    run.check_writable()
    layout = layout_in(data)
    modality, prompts = released(layout), read_prompts(run.prompts)
    tested = read_data(data, modality, run.conditions())
    names, targets = targets_of(tested.labels, tested.classes)
    joint = run.open_space(backend="torch")
    encoder = modality(joint, AudioConfig(tower=None if weights is None else str(weights), window_s=layout.seconds))
    embedding = encode(encoder, tested.items, run.batch_size, run.cache_folder())

    def measured(some: Any) -> dict[str, Any]:
        logits = make_classifier(joint, names, some).logits(embedding)
        return figures_of([logits], targets, names, 0, tested.folds)[0]

    results = rows_of(joint, measured, run.prompts, prompts)
    same = compared(str(tested.facts["published"]), layout, len(targets))
    record = report(
        "reproduce",
        results,
        system="audioclip",
        paper=PAPER,
        published=[{"acc1": PUBLISHED[layout.name] / 100, "source": PAPER}],
        benchmark=layout.name,
        subsets=dict(tested.subsets),
        data_as_published=same,
        n=len(targets),
        tower=str(weights) if weights else "shipped",
        tower_sha256=Audio(joint, encoder.config).context,
        space=joint.name,
        space_id=joint.id,
        data_sha256=tested.sha256(),
        versions=versions(),
    )
    run.emit(record, lambda: _print(record, tested.title))


def _print(record: Mapping[str, Any], data: str) -> None:
    from clipx.cli._output import print_table

    lines = [("published, zero-shot", f"{one['acc1']:.2%}", "", one["source"], "") for one in record["published"]]
    for row in record["results"]:
        interval = "{:.1%} to {:.1%}".format(*row["ci95"]["acc1"])
        tuned = f"tuned on {row['tuned_on']}" if row["tuned_on"] else "untuned"
        name = f"{row['name']}: {row['prompts']}"
        folds = " ".join(f"{fold}: {right:.1%}" for fold, right in row.get("folds", {}).items())
        lines.append((name, f"{row['metrics']['acc1']:.2%}", interval, f"{record['space']}, {tuned}", folds))
    same = record["data_as_published"]
    title = f"{data}, {record['n']} clips (as published: {same}), data {record['data_sha256'][:12]}"
    print_table(("figure", "top-1", "95 % interval", "by", "folds"), lines, title=title)
