"""AudioCLIP's zero-shot classification as its code measures it, and the figures that it published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipx.errors import InputError
from clipx.modalities.audio.augment import fit
from clipx.modalities.audio.benchmarks import LAYOUTS, Layout, layout_of
from clipx.modalities.audio.encoder import Audio
from clipx.modalities.audio.fbsp import SAMPLE_RATE_HZ
from clipx.modalities.audio.files import Sound
from clipx.modalities.audio.resampling import resample
from clipx.progress import note
from clipx.prompts import Prompts
from clipx.space import JointSpace

PAPER = "AudioCLIP, ICASSP 2022"
PUBLISHED = {"ESC-50": 69.40, "UrbanSound8K": 68.78}  # zero-shot top-1 in %, its table 3
BARE = "{}"  # what the released code says of a label: itself
TRIED = (BARE, "{}.", "a sound of a {}", "this is a sound of {}", "a photo of a {}", "a photo of a {} making a sound")


def layout_in(data: Path) -> Layout:
    """The benchmark that a folder holds. Raises InputError."""
    layout = layout_of(data) if data.is_dir() else None
    if layout is None:
        remedy = f"give the folder of {' or '.join(one.name for one in LAYOUTS)} that holds its CSV file"
        raise InputError(f"{PAPER} has no figure for this data", where=data, remedy=remedy)
    return layout


def compared(published: str, layout: Layout, clips: int) -> str:
    """Whether these are the published data, or how they differ, also where ``--where`` chose among them.

    Where they differ, a warning on stderr says so.
    """
    if clips != layout.clips and not published.startswith("differs"):
        published = f"differs: {clips} of {layout.clips} clips, chosen by --where"
    if published.startswith("differs"):
        note(f"warning: not the data of the published figure; {published}")
    return published


def released(layout: Layout) -> type[Audio]:
    """The modality with clips as the released loaders hand them to the tower."""

    class Released(Audio):
        @property
        def context(self) -> str:  # type: ignore[override]
            return f"{super().context} {layout.name} as released"

        def load(self, path: Any) -> Any:
            return as_released(super().load(path), layout.name, layout.seconds)

    return Released


def rows_of(
    space: JointSpace, measured: Callable[[Prompts], dict[str, Any]], name: str | None, prompts: Prompts | None
) -> list[dict[str, Any]]:
    """The rows of results: the user's own prompts, or the bare label and the best of those tried.

    Args:
        space: where they are measured; templates with words that it does not know are left out.
        measured: prompts -> figures.
        name: what the user's prompts are called.
        prompts: the user's own; None for the paper's.
    """
    if prompts is not None:
        return [{"name": "own prompts", "prompts": name, "tuned_on": "", **measured(prompts)}]
    known = [template for template in TRIED if _known(space, template)]
    bare = {"name": "bare label", "prompts": BARE, "tuned_on": "", **measured(BARE)}
    found = {template: measured(template) for template in known}
    best = max(found, key=lambda template: found[template]["metrics"]["acc1"])
    about = {"name": f"best of {len(known)} prompts", "prompts": best, "tuned_on": "the labels measured on"}
    return [bare, about | found[best]]


def as_released(sound: Any, benchmark: str, seconds: float) -> Any:
    """A clip of the length that its benchmark's loader makes of it."""
    wave = resample(np.concatenate(list(sound.blocks()), axis=1), sound.sample_rate_hz, SAMPLE_RATE_HZ)
    length = round(seconds * SAMPLE_RATE_HZ)
    if benchmark == "UrbanSound8K":
        wave = wave[:, :length]
        low, high = wave.min(), wave.max()
        wave = (wave - low) / max(high - low, np.float32(1e-12)) * 65535 / 32768 - 1  # the whole range of 16 bits
        wave = np.repeat(wave, 2, axis=0) if len(wave) == 1 else wave
    return Sound(fit(torch.from_numpy(wave), length).numpy(), SAMPLE_RATE_HZ, sound.source)


def _known(space: Any, template: str) -> bool:
    """Whether a space of few words knows those of a template."""
    return not space.unknown(template.replace("{}", " "))
