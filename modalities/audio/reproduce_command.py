"""clipx reproduce audioclip: the published zero-shot figures beside what is measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._flags import (
    BatchFlag,
    CacheFlag,
    ConfigFlag,
    DeviceFlag,
    JsonFlag,
    OutFlag,
    PromptsFlag,
    ResumeFlag,
    SpaceFlag,
    WhereFlag,
)

PAPER = "AudioCLIP, ICASSP 2022"
PUBLISHED = {"ESC-50": 69.40, "UrbanSound8K": 68.78}  # zero-shot top-1 in %, its table 3
BARE = "{}"  # what the released code says of a label: itself
TRIED = (BARE, "{}.", "a sound of a {}", "this is a sound of {}", "a photo of a {}", "a photo of a {} making a sound")


def audioclip(
    data: Annotated[Path, typer.Option("--data", help="The folder of ESC-50 or UrbanSound8K, as it is handed out.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="AudioCLIP-Partial-Training.pt, or a tower's folder.")
    ] = None,
    where: WhereFlag = None,
    prompts: PromptsFlag = None,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    batch_size: BatchFlag = 8,
    cache: CacheFlag = None,
    resume: ResumeFlag = False,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Measure zero-shot sound classification as AudioCLIP does, and print the published figure beside it.

    Clips are fed as its code feeds them: centred in 5 s (ESC-50), or the first 4 s
    in full scale and on both channels (UrbanSound8K). Rows that must not be mixed:
    the bare label, as released; and the best of several prompts, chosen on the
    very labels it is measured on. Each fold's figure stands beside that of all clips.

    Example: clipx reproduce audioclip --data ESC-50-master --weights AudioCLIP-Partial-Training.pt \\
    --space RN50-quickgelu/openai
    """
    from clipx.cli._flags import condition
    from clipx.cli._output import check_writable, emit, print_table, report
    from clipx.cli._work import cache_folder, encode, make_classifier, open_space, read_prompts, versions
    from clipx.datasets import read_data
    from clipx.errors import InputError
    from clipx.evaluation import figures_of, targets_of
    from clipx.modalities.audio.benchmarks import LAYOUTS, layout_of
    from clipx.modalities.audio.encoder import Audio, AudioConfig
    from clipx.progress import note

    check_writable(out)
    layout = layout_of(data) if data.is_dir() else None
    if layout is None:
        remedy = f"give the folder of {' or '.join(one.name for one in LAYOUTS)} that holds its CSV file"
        raise InputError(f"{PAPER} has no figure for this data", where=data, remedy=remedy)
    name, seconds = layout.name, layout.seconds

    class Released(Audio):
        """Clips as the released loaders hand them to the tower."""

        @property
        def context(self) -> str:  # type: ignore[override]
            return f"{super().context} {name} as released"

        def load(self, path: Any) -> Any:
            sound = super().load(path)
            return _as_released(sound, name, seconds)

    said = read_prompts(prompts)
    rows = read_data(data, Released, [condition(text) for text in where or ()])
    names, targets = targets_of(rows.labels, rows.classes)
    joint = open_space(space, device, "float32", 0)
    encoder = Released(joint, AudioConfig(tower=None if weights is None else str(weights), window_s=layout.seconds))
    embedding = encode(encoder, rows.items, batch_size, cache_folder(cache, resume))

    def measured(say: Any) -> dict[str, Any]:
        logits = make_classifier(joint, names, say).logits(embedding).cpu()
        return figures_of([logits], targets, names, 0, rows.folds)[0]

    if said is not None:
        results = [{"name": "own prompts", "prompts": prompts, "tuned_on": "", **measured(said)}]
    else:
        known = [template for template in TRIED if _known(joint, template)]
        results = [{"name": "bare label", "prompts": BARE, "tuned_on": "", **measured(BARE)}]
        found = {template: measured(template) for template in known}
        best = max(found, key=lambda template: found[template]["metrics"]["acc1"])
        on = "the labels measured on"
        results.append({"name": f"best of {len(known)} prompts", "prompts": best, "tuned_on": on, **found[best]})
    same = str(rows.facts["published"])
    if len(targets) != layout.clips and not same.startswith("differs"):
        same = f"differs: {len(targets)} of {layout.clips} clips, chosen by --where"
    if same.startswith("differs"):
        note(f"warning: not the data of the published figure; {same}")
    record = report(
        "reproduce",
        results,
        system="audioclip",
        paper=PAPER,
        published=[{"acc1": PUBLISHED[layout.name] / 100, "source": PAPER}],
        benchmark=layout.name,
        parts=dict(rows.parts),
        data_as_published=same,
        n=len(targets),
        tower=str(weights) if weights else "shipped",
        tower_sha256=Audio(joint, encoder.config).context,
        space=joint.name,
        space_id=joint.id,
        data_sha256=rows.sha256(),
        versions=versions(),
    )

    def table() -> None:
        lines = [("published, zero-shot", f"{PUBLISHED[layout.name]:.2f}%", "", PAPER, "")]
        for row in results:
            interval = "{:.1%} to {:.1%}".format(*row["ci95"]["acc1"])
            tuned = f"tuned on {row['tuned_on']}" if row["tuned_on"] else "untuned"
            name = f"{row['name']}: {row['prompts']}"
            folds = " ".join(f"{fold}: {right:.1%}" for fold, right in row.get("folds", {}).items())
            lines.append((name, f"{row['metrics']['acc1']:.2%}", interval, f"{joint.name}, {tuned}", folds))
        title = f"{rows.title}, {len(targets)} clips (as published: {same}), data {record['data_sha256'][:12]}"
        print_table(("figure", "top-1", "95 % interval", "by", "folds"), lines, title=title)

    emit(record, as_json, table, out)


def _as_released(sound: Any, benchmark: str, seconds: float) -> Any:
    """A clip of the length that its benchmark's loader makes of it."""
    import torch

    from clipx.modalities.audio.augment import fit
    from clipx.modalities.audio.fbsp import SAMPLE_RATE_HZ
    from clipx.modalities.audio.files import Sound, resample

    wave = resample(torch.cat(list(sound.blocks()), dim=1), sound.sample_rate_hz, SAMPLE_RATE_HZ)
    length = round(seconds * SAMPLE_RATE_HZ)
    if benchmark == "UrbanSound8K":
        wave = wave[:, :length]
        low, high = wave.min(), wave.max()
        wave = (wave - low) / (high - low).clamp(min=1e-12) * 65535 / 32768 - 1  # the whole range of 16 bits
        wave = wave.expand(2, -1) if len(wave) == 1 else wave
    return Sound(fit(wave, length), SAMPLE_RATE_HZ, sound.source)


def _known(space: Any, template: str) -> bool:
    """Whether a space of few words knows those of a template."""
    return not space.unknown(template.replace("{}", " "))
