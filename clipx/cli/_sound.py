"""A sound on a page: a player that holds it, and its waveform."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from clipx.cli._html import data_uri
from clipx.sounds import KINDS, Waveform, cut, is_sound, waveform

WHOLE_BYTES = 2**20  # of a sound that a page holds as it is; of a longer one the place that was found
LONGEST_S = 30.0  # of such a place
HEIGHT = 40


def player(path: str | Path, start_s: float | None, end_s: float | None, name: str) -> str:
    """HTML that plays a file from the place that was found: "" for what is no sound, else a line where it cannot.

    Args:
        path: the file; of one at a URL a line says that it is not here.
        start_s, end_s: the place; None for all of it.
        name: what to call it.
    """
    from clipx.index.remote import is_url

    remote, path = is_url(path), Path(path)
    kind = KINDS.get(path.suffix.lower())
    if not is_sound(path):
        return ""
    if remote:
        return '<p class="none">lies at a URL, and is not played here</p>'
    if not path.is_file():
        return '<p class="none">the file is gone</p>'
    begin = start_s or 0.0
    try:
        drawn = _drawn(waveform(path, start_s), start_s, end_s)
        if kind is not None and path.stat().st_size <= WHOLE_BYTES:
            source, note = data_uri(kind, path.read_bytes()) + (f"#t={begin:.2f}" if begin else ""), ""
        else:
            sound, until = cut(path, begin, end_s, LONGEST_S)
            source, note = data_uri("audio/wav", sound), f'<p class="kind">plays {begin:.1f} to {until:.1f} s of it</p>'
    except Exception as error:  # no soundfile here, or whatever it trips over
        return f'<p class="none">cannot be played: {escape(str(error)[:120])}</p>'
    label = escape(name, quote=True)
    return f'{drawn}<audio controls preload="metadata" aria-label="{label}" src="{source}"></audio>{note}'


def _drawn(wave: Waveform, start_s: float | None, end_s: float | None) -> str:
    """A waveform as bars; those of the place that was found stand out."""
    edges = np.linspace(wave.start_s, wave.end_s, len(wave.peaks) + 1)
    times = (edges[:-1] + edges[1:]) / 2
    inside = (times >= (start_s or 0.0)) & (times <= (np.inf if end_s is None else end_s))
    bars = "".join(
        f'<path class="{name}" d="{"".join(_bar(int(i), float(wave.peaks[i])) for i in np.flatnonzero(which))}"/>'
        for name, which in (("out", ~inside), ("in", inside))
    )
    label = f"waveform, {wave.start_s:.0f} to {wave.end_s:.0f} s"
    return (
        f'<svg class="wave" viewBox="0 0 {2 * len(wave.peaks)} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{bars}</svg>'
    )


def _bar(place: int, peak: float) -> str:
    half = max(0.5, peak * HEIGHT / 2)
    return f"M{2 * place} {HEIGHT / 2 - half:.1f}v{2 * half:.1f}"
