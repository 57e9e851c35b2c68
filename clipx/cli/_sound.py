"""A sound on a page: a player that holds it, and its waveform."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path

import numpy as np

from clipx.cli._html import data_uri

KINDS = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".mp3": "audio/mpeg"}
CONVERTED = (".aiff", ".aif", ".aifc", ".caf", ".w64", ".rf64", ".au", ".oga")  # which few browsers play
WHOLE_BYTES = 2**20  # of a sound that a page holds as it is; of a longer one the place that was found
LONGEST_S = 30.0  # of such a place
DRAWN_S = 600.0  # of a waveform; of a longer sound the minutes about the place are drawn
BARS, HEIGHT = 160, 40


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
    if kind is None and path.suffix.lower() not in CONVERTED:
        return ""
    if remote:
        return '<p class="none">lies at a URL, and is not played here</p>'
    if not path.is_file():
        return '<p class="none">the file is gone</p>'
    begin = start_s or 0.0
    try:
        drawn = _waveform(path, start_s, end_s)
        if kind is not None and path.stat().st_size <= WHOLE_BYTES:
            source, note = data_uri(kind, path.read_bytes()) + (f"#t={begin:.2f}" if begin else ""), ""
        else:
            sound, until = _cut(path, begin, end_s)
            source, note = data_uri("audio/wav", sound), f'<p class="kind">plays {begin:.1f} to {until:.1f} s of it</p>'
    except Exception as error:  # no soundfile here, or whatever it trips over
        return f'<p class="none">cannot be played: {escape(str(error)[:120])}</p>'
    label = escape(name, quote=True)
    return f'{drawn}<audio controls preload="metadata" aria-label="{label}" src="{source}"></audio>{note}'


def _cut(path: Path, begin_s: float, end_s: float | None) -> tuple[bytes, float]:
    """A place in a sound as a 16-bit WAV, mono, and where it ends, in seconds."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        until = min(end_s or np.inf, begin_s + LONGEST_S, len(file) / rate)
        file.seek(min(round(begin_s * rate), len(file)))
        samples = file.read(max(0, round((until - begin_s) * rate)), dtype="float32", always_2d=True).mean(1)
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate, format="WAV", subtype="PCM_16")
    return sound.getvalue(), until


def _waveform(path: Path, start_s: float | None, end_s: float | None) -> str:
    """The loudest sample in each of 160 parts, drawn as bars; those of the place that was found stand out."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        rate, length = file.samplerate, len(file)
        first = 0
        if length > DRAWN_S * rate:
            first = round(min(max(0.0, (start_s or 0.0) - DRAWN_S / 2), length / rate - DRAWN_S) * rate)
            length = round(DRAWN_S * rate)
        file.seek(first)
        edges = np.linspace(0, length, BARS + 1).astype(int)
        peaks = np.zeros(BARS)
        for i, count in enumerate(np.diff(edges)):
            part = file.read(count, dtype="float32", always_2d=True)
            peaks[i] = np.abs(part).max(initial=0.0)
    peaks /= max(peaks.max(), 1e-4)
    times = (first + (edges[:-1] + edges[1:]) / 2) / rate
    inside = (times >= (start_s or 0.0)) & (times <= (np.inf if end_s is None else end_s))
    bars = "".join(
        f'<path class="{name}" d="{"".join(_bar(int(i), float(peaks[i])) for i in np.flatnonzero(which))}"/>'
        for name, which in (("out", ~inside), ("in", inside))
    )
    label = f"waveform, {first / rate:.0f} to {(first + length) / rate:.0f} s"
    return (
        f'<svg class="wave" viewBox="0 0 {2 * BARS} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{bars}</svg>'
    )


def _bar(place: int, peak: float) -> str:
    half = max(0.5, peak * HEIGHT / 2)
    return f"M{2 * place} {HEIGHT / 2 - half:.1f}v{2 * half:.1f}"
