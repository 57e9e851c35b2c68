"""Sounds made from nothing: for the demo, for tests, and as additional classes for a tower to learn.

Each is a caricature of what the word means, physical where that is short: pulses through resonances for voices and
engines, filtered noise for water and wind, decaying partials for struck things. A seed draws pitch, pace, room and
background; the same label and seed give the same samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clipx.errors import InputError
from clipx.modalities.audio.files import Sound

RATE_HZ = 22_050
Wave = np.ndarray  # (T,) float64
Maker = Callable[[np.random.Generator, int], Wave]


def synthesise(label: str, seed: int = 0, seconds: float = 5.0) -> Sound:
    """A sound of one of ``LABELS``, mono, 22,050 Hz, peak between .1 and .9.

    Raises:
        InputError: an unknown label, or not 1.5 to 60 seconds.
    """
    if label not in LABELS:
        raise InputError(f"no recipe for the sound {label!r}", remedy=f"one of {', '.join(LABELS)}")
    if not 1.5 <= seconds <= 60:  # some begin after a second
        raise InputError(f"seconds must be 1.5 to 60, got {seconds}")
    rng = np.random.default_rng([seed, LABELS.index(label)])
    wave = _MAKERS[label](rng, round(seconds * RATE_HZ))
    return Sound(_recorded(rng, wave).astype(np.float32)[None], RATE_HZ, f"synthetic {label}")


# Parts ----------------------------------------------------------------------------------------------------------------


def _seconds(count: int) -> Wave:
    return np.arange(count) / RATE_HZ


def _noise(rng: np.random.Generator, count: int, low: float, high: float, tilt: float = 0.0) -> Wave:
    """Noise between two frequencies in Hz, its amplitude falling as f ** -tilt; of unit deviation."""
    frequency = np.fft.rfftfreq(count, 1 / RATE_HZ)
    spectrum = rng.standard_normal(len(frequency)) + 1j * rng.standard_normal(len(frequency))
    # smooth edges, an octave wide: hard ones ring
    gain = 1 / (1 + (low / np.maximum(frequency, 1e-9)) ** 6) / (1 + (frequency / high) ** 6)
    wave = np.fft.irfft(spectrum * gain * np.maximum(frequency, 20.0) ** -tilt, count)
    return wave / (wave.std() + 1e-12)


def _tone(pitch: Wave, loudness: Callable[[Wave], Wave] | Sequence[float], partials: int = 40) -> Wave:
    """A harmonic tone: pitch (T,) in Hz; the loudness of a partial by its frequency (T,), or one number a partial."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    wave = np.zeros(len(pitch))
    for k in range(1, (partials if callable(loudness) else len(loudness)) + 1):
        level = loudness(k * pitch) if callable(loudness) else loudness[k - 1]
        wave += np.where(k * pitch < 0.45 * RATE_HZ, level, 0.0) * np.sin(k * phase)
    return wave


def _throat(*formants: float, tilt: float = 1.0) -> Callable[[Wave], Wave]:
    """Loudness of partials: falling as f ** -tilt, with resonances at these frequencies in Hz."""

    def loudness(frequency: Wave) -> Wave:
        peaks = sum(np.exp(-(((frequency - f) / (0.18 * f + 60)) ** 2)) for f in formants)
        return (0.08 + peaks) * (np.maximum(frequency, 50) / 500) ** -tilt

    return loudness


def _curve(count: int, *points: float) -> Wave:
    """(count,) values that pass through evenly spaced points."""
    return np.interp(np.linspace(0, len(points) - 1, count), np.arange(len(points)), points)


def _swell(count: int, attack_s: float, release_s: float) -> Wave:
    """Loudness that rises from 0 to 1, stays, and falls to 0."""
    t = _seconds(count)
    return np.clip(np.minimum(t / attack_s, (t[-1] - t) / release_s), 0, 1)


def _struck(rng: np.random.Generator, count: int, partials: Sequence[float], decay_s: float) -> Wave:
    """Partials in Hz that sound at once and die away, the high ones first."""
    t = _seconds(count)
    wave = np.zeros(count)
    for k, frequency in enumerate(partials):
        if frequency < 0.45 * RATE_HZ:
            phase = rng.uniform(0, 2 * np.pi)
            wave += np.sin(2 * np.pi * frequency * t + phase) * np.exp(-t * (1 + 0.4 * k) / decay_s) / (1 + 0.5 * k)
    return wave * np.minimum(t / 0.001, 1)


def _place(count: int, pieces: Sequence[tuple[float, Wave]]) -> Wave:
    """Waves that begin at these seconds, added up; what lies beyond the end is cut."""
    wave = np.zeros(count)
    for start_s, piece in pieces:
        start = round(start_s * RATE_HZ)
        if start < count:
            wave[start : start + len(piece)] += piece[: count - start]
    return wave


def _beats(rng: np.random.Generator, count: int, pause: tuple[float, float], first: float = 0.4) -> list[float]:
    """Seconds at which something happens, with pauses drawn from a range."""
    times, now = [], rng.uniform(0, first)
    while now < count / RATE_HZ:
        times.append(now)
        now += rng.uniform(*pause)
    return times


def _repeat(
    rng: np.random.Generator, count: int, pause: tuple[float, float], one: Callable[[np.random.Generator], Wave]
) -> Wave:
    """One thing again and again, a little different each time."""
    return _place(count, [(at, rng.uniform(0.6, 1) * one(rng)) for at in _beats(rng, count, pause)])


def _length(rng: np.random.Generator, low_s: float, high_s: float) -> int:
    return round(rng.uniform(low_s, high_s) * RATE_HZ)


def _recorded(rng: np.random.Generator, wave: Wave) -> Wave:
    """Put a sound into a room, before a background, and on a scale."""
    wave = wave / (np.abs(wave).max() + 1e-12)
    if rng.random() < 0.6:
        tail = _length(rng, 0.1, 0.5)
        echo = rng.standard_normal(tail) * np.exp(-6 * np.arange(tail) / tail)
        size = len(wave) + tail
        wet = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(echo, size), size)[: len(wave)]
        wave = wave + rng.uniform(0.05, 0.4) * wet / (np.abs(wet).max() + 1e-12)
    wave = wave / (np.abs(wave).max() + 1e-12)
    wave = wave + 10 ** rng.uniform(-3.2, -1.6) * _noise(rng, len(wave), 30, 9000, rng.uniform(0, 1.2))
    return rng.uniform(0.1, 0.9) * wave / np.abs(wave).max()


# Sounds ---------------------------------------------------------------------------------------------------------------


def _ambulance(rng: np.random.Generator, count: int) -> Wave:
    """A siren that alternates or wails."""
    pace, low = rng.uniform(0.2, 0.8), rng.uniform(450, 700)
    turn = np.sin(2 * np.pi * pace * _seconds(count) + rng.uniform(0, 6))
    bend = np.tanh(8 * turn) if rng.random() < 0.5 else turn
    return _tone(low * 2 ** (0.35 * (1 + bend)), [1, 0.6, 0.5, 0.3, 0.2, 0.1])


def _bell(rng: np.random.Generator, count: int) -> Wave:
    """The partials of a church bell: hum, prime, tierce, quint, nominal and above."""
    pitch, decay = rng.uniform(300, 1200), rng.uniform(0.6, 2)
    partials = [pitch * ratio for ratio in (0.5, 1, 1.2, 1.5, 2, 2.6, 3, 4.1)]
    return _repeat(rng, count, (0.8, 2.5), lambda r: _struck(r, round(4 * decay * RATE_HZ), partials, decay))


def _bird(rng: np.random.Generator, count: int) -> Wave:
    """Phrases of quick sweeps between 2 and 6 kHz."""
    middle, notes = rng.uniform(2500, 5000), rng.integers(2, 8)
    shape = rng.uniform(-0.4, 0.4, (notes, 3))

    def phrase(r: np.random.Generator) -> Wave:
        length = _length(r, 0.06, 0.16)
        parts = [_tone(middle * 2 ** _curve(length, *row), [1, 0.15]) * _swell(length, 0.01, 0.03) for row in shape]
        return np.concatenate([np.concatenate([part, np.zeros(length // 3)]) for part in parts])

    return _repeat(rng, count, (0.9, 1.8), phrase)


def _cat(rng: np.random.Generator, count: int) -> Wave:
    """A meow: the mouth opens and closes over a pitch that rises and falls."""
    pitch = rng.uniform(420, 750)

    def meow(r: np.random.Generator) -> Wave:
        length = _length(r, 0.5, 1.1)
        bent = pitch * _curve(length, 0.8, 1.15, 1.1, 0.9, 0.75)
        closed, opened = _tone(bent, _throat(700, 2600)), _tone(bent, _throat(1300, 3300))
        mouth = _curve(length, 0, 1, 0.8, 0.1)
        return ((1 - mouth) * closed + mouth * opened) * _swell(length, 0.08, 0.2)

    return _repeat(rng, count, (1.2, 2.2), meow)


def _chainsaw(rng: np.random.Generator, count: int) -> Wave:
    """A two-stroke engine: rough pulses whose pace follows the throttle."""
    throttle = np.interp(_seconds(count), np.arange(8), rng.choice([0.5, 0.6, 1.0, 1.1], 8))
    revs = rng.uniform(90, 150) * throttle * (1 + 0.02 * _noise(rng, count, 1, 40))
    engine = _tone(revs, _throat(600, 1800, 3500, tilt=0.3), 60)
    grit = _noise(rng, count, 500, 8000) * (0.5 + 0.5 * np.sin(2 * np.pi * np.cumsum(revs) / RATE_HZ))
    return (engine / engine.std() + rng.uniform(0.3, 0.9) * grit) * throttle


def _clock_tick(rng: np.random.Generator, count: int) -> Wave:
    """Tick and tock: clicks of a few milliseconds, evenly spaced."""
    pause, pitch = rng.choice([0.2, 0.25, 0.5, 1.0]) * rng.uniform(0.95, 1.05), rng.uniform(1500, 4500)
    uneven, softer = rng.uniform(-0.06, 0.06), rng.uniform(0.5, 1.0)
    decay, pieces = rng.uniform(0.004, 0.02), []
    for k, at in enumerate(np.arange(rng.uniform(0, pause), count / RATE_HZ, pause)):
        own = pitch * (1 if k % 2 else rng.uniform(0.84, 0.86))
        click = _struck(rng, round(0.1 * RATE_HZ), [own, 1.7 * own, 2.9 * own], decay)
        pieces.append((at + uneven * pause * (k % 2), (softer if k % 2 else 1) * click))
    return _place(count, pieces)


def _cow(rng: np.random.Generator, count: int) -> Wave:
    """A moo of a second or two."""
    pitch = rng.uniform(110, 190)

    def moo(r: np.random.Generator) -> Wave:
        length = _length(r, 1.0, 2.0)
        bent = pitch * _curve(length, 0.8, 1.05, 1.1, 1.0, 0.8) * (1 + 0.01 * _noise(r, length, 5, 60))
        return _tone(bent, _throat(350, 800, 2000), 30) * _swell(length, 0.2, 0.3)

    return _repeat(rng, count, (2.0, 3.2), moo)


def _crackling_fire(rng: np.random.Generator, count: int) -> Wave:
    """A soft roar under crackles at random, a few of them loud."""
    snaps = []
    for _ in range(rng.poisson(rng.uniform(8, 40) * count / RATE_HZ)):
        length = _length(rng, 0.002, 0.02)
        snap = _noise(rng, length, rng.uniform(500, 3000), 9000) * np.exp(-5 * np.arange(length) / length)
        snaps.append((rng.uniform(0, count / RATE_HZ), 0.2 * rng.pareto(1.6) * snap))
    roar = _noise(rng, count, 40, 700, 0.5) * (1 + 0.4 * _noise(rng, count, 0.3, 4))
    return np.clip(_place(count, snaps), -3, 3) + rng.uniform(0.05, 0.25) * roar


def _crying_baby(rng: np.random.Generator, count: int) -> Wave:
    """Wails of about a second, each after a breath."""
    pitch = rng.uniform(350, 520)

    def wail(r: np.random.Generator) -> Wave:
        length = _length(r, 0.5, 1.3)
        shake = 1 + r.uniform(0.005, 0.03) * np.sin(2 * np.pi * r.uniform(5, 9) * _seconds(length))
        bent = pitch * _curve(length, 0.8, *r.uniform(1.0, 1.25, 3), 0.75) * shake
        voice = _tone(bent, _throat(1100, 2800, 4200, tilt=0.5), 16)
        breath = 0.15 * _noise(r, length, 1000, 6000)
        return (voice / voice.std() + breath) * _swell(length, 0.06, 0.15)

    return _repeat(rng, count, (0.9, 1.6), wail)


def _dog(rng: np.random.Generator, count: int) -> Wave:
    """Barks: short, harsh, falling."""
    pitch, harsh = rng.uniform(250, 650), rng.uniform(0.3, 0.8)

    def bark(r: np.random.Generator) -> Wave:
        length = _length(r, 0.12, 0.25)
        bent = pitch * _curve(length, 0.9, 1.3, 1.1, 0.6) * (1 + 0.03 * _noise(r, length, 30, 200))
        voice = _tone(bent, _throat(800, 1500, 2800, tilt=0.7), 20)
        rough = _noise(r, length, 400, 4000)
        return (voice / voice.std() + harsh * rough) * _swell(length, 0.012, 0.1)

    return _repeat(rng, count, rng.choice([(0.3, 0.6), (0.4, 1.6)]), bark)


def _drums(rng: np.random.Generator, count: int) -> Wave:
    """Bass drum, snare and cymbal in a bar of eight."""
    eighth, bar = rng.uniform(0.14, 0.28), rng.random((3, 8)) < [[0.35], [0.25], [0.8]]
    bar[0, 0] = bar[1, 4] = True
    short, t = round(0.25 * RATE_HZ), _seconds(round(0.25 * RATE_HZ))
    bass = np.sin(2 * np.pi * np.cumsum(45 + 90 * np.exp(-t / 0.03)) / RATE_HZ) * np.exp(-t / 0.09)
    snare = _noise(rng, short, 300, 7000) * np.exp(-t / 0.05) * 0.5 + np.sin(2 * np.pi * 190 * t) * np.exp(-t / 0.04)
    cymbal = _noise(rng, short, 5000, 10_000) * np.exp(-t / 0.03) * 0.25
    steps = np.arange(0, count / RATE_HZ, eighth)
    hits = [(at, drum) for k, at in enumerate(steps) for drum, row in zip((bass, snare, cymbal), bar, strict=True)
            if row[k % 8]]  # fmt: skip
    return _place(count, hits)


def _frog(rng: np.random.Generator, count: int) -> Wave:
    """Croaks: a slow train of pulses through a resonance."""
    rasp, pitch = rng.uniform(25, 60), rng.uniform(500, 1400)

    def croak(r: np.random.Generator) -> Wave:
        length = _length(r, 0.2, 0.6)
        pulse = np.abs(np.sin(np.pi * rasp * _seconds(length))) ** 6
        return _tone(pitch * _curve(length, 0.9, 1.1), [1, 0.5, 0.2]) * pulse * _swell(length, 0.03, 0.08)

    return _repeat(rng, count, (0.5, 1.3), croak)


def _guitar(rng: np.random.Generator, count: int) -> Wave:
    """Plucked notes of a scale."""
    root = rng.uniform(82, 165)

    def note(r: np.random.Generator) -> Wave:
        pitch = root * 2 ** (r.choice([0, 2, 4, 7, 9, 12, 16, 19]) / 12)
        return _struck(r, round(1.5 * RATE_HZ), [k * pitch for k in range(1, 14)], 0.9)

    return _repeat(rng, count, (0.2, 0.5), note)


def _hammer(rng: np.random.Generator, count: int) -> Wave:
    """Blows on wood or iron."""
    iron = rng.random() < 0.5
    partials = rng.uniform(*((1500, 5000) if iron else (150, 900)), 5).tolist()
    decay = rng.uniform(0.1, 0.3) if iron else rng.uniform(0.02, 0.06)
    pause = rng.uniform(0.35, 0.9)

    def blow(r: np.random.Generator) -> Wave:
        length = round(6 * decay * RATE_HZ)
        knock = _noise(r, length, 80, 5000) * np.exp(-_seconds(length) / 0.006)
        return knock + _struck(r, length, partials, decay)

    return _repeat(rng, count, (0.95 * pause, 1.05 * pause), blow)


def _helicopter(rng: np.random.Generator, count: int) -> Wave:
    """Rotor blades that slap the air ten to twenty times a second, over a turbine."""
    pace, sharp = rng.uniform(9, 20), rng.uniform(1, 5)
    slap = (0.5 + 0.5 * np.sin(2 * np.pi * pace * _seconds(count))) ** sharp
    air = _noise(rng, count, 40, rng.uniform(300, 1500), 0.6) * (0.15 + slap)
    turbine = _tone(np.full(count, rng.uniform(300, 900)), [1, 0.4, 0.2])
    distance = _curve(count, *rng.uniform(0.4, 1, 3))
    return (air + rng.uniform(0, 0.06) * turbine) * distance


def _lightning(rng: np.random.Generator, count: int) -> Wave:
    """Thunder: a crack and seconds of rumbling."""
    rumble = _noise(rng, count, 25, 220, 0.8) * (0.4 + np.abs(_noise(rng, count, 0.5, 3)))
    start = rng.uniform(0, 1)
    since = _seconds(count) - start
    fading = np.where(since > 0, np.exp(-np.maximum(since, 0) / rng.uniform(1, 3)), 0.05)
    crack = _noise(rng, count, 200, 6000, 0.5) * np.where(since > 0, np.exp(-np.maximum(since, 0) / 0.15), 0)
    return rumble * fading + rng.uniform(0, 1) * crack


def _mosquito(rng: np.random.Generator, count: int) -> Wave:
    """A whine that comes and goes."""
    pitch = rng.uniform(350, 700) * (1 + 0.03 * _noise(rng, count, 0.5, 6))
    return _tone(pitch, [1, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1]) * _curve(count, *rng.uniform(0.1, 1, 6))


def _owl(rng: np.random.Generator, count: int) -> Wave:
    """Hoots, some of them twice as long."""
    pitch, long = rng.uniform(260, 480), rng.integers(0, 4)
    at, pieces = rng.uniform(0, 0.6), []
    while at < count / RATE_HZ:
        for k in range(4):
            length = round((0.5 if k == long else 0.22) * RATE_HZ)
            pieces.append((at, _tone(pitch * _curve(length, 0.95, 1, 0.93), [1, 0.12]) * _swell(length, 0.05, 0.09)))
            at += length / RATE_HZ + 0.12
        at += rng.uniform(0.8, 1.5)
    return _place(count, pieces)


def _piano(rng: np.random.Generator, count: int) -> Wave:
    """Notes and chords, slightly inharmonic."""
    root = rng.uniform(130, 300)

    def chord(r: np.random.Generator) -> Wave:
        wave = np.zeros(round(1.8 * RATE_HZ))
        for step in r.choice([0, 4, 7, 12, 16, -5], r.integers(1, 4), replace=False):
            pitch = root * 2 ** (step / 12)
            partials = [k * pitch * (1 + 0.0006 * k * k) ** 0.5 for k in range(1, 9)]
            wave += _struck(r, len(wave), partials, 0.6)
        return wave

    return _repeat(rng, count, (0.25, 0.7), chord)


def _rain(rng: np.random.Generator, count: int) -> Wave:
    """A hiss of countless drops, and those near by one by one."""
    hiss = _noise(rng, count, rng.uniform(300, 1200), 10_000, rng.uniform(0, 0.6))
    drops = []
    for _ in range(rng.poisson(rng.uniform(5, 60) * count / RATE_HZ)):
        length = _length(rng, 0.003, 0.015)
        drop = np.sin(2 * np.pi * rng.uniform(1500, 6000) * _seconds(length)) * _swell(length, 0.001, length / RATE_HZ)
        drops.append((rng.uniform(0, count / RATE_HZ), rng.uniform(0, 2.5) * drop))
    return hiss * (1 + 0.08 * _noise(rng, count, 0.2, 2)) + rng.uniform(0.2, 1) * _place(count, drops)


def _rooster(rng: np.random.Generator, count: int) -> Wave:
    """Cock-a-doodle-doo: two short cries, a higher one, and a long one that falls."""
    pitch = rng.uniform(480, 750)

    def crow(r: np.random.Generator) -> Wave:
        cries = [(0.15, 0.8, 1.0), (0.15, 1.0, 1.1), (0.3, 1.2, 1.45), (r.uniform(0.7, 1.1), 1.45, 0.85)]
        parts = []
        for length_s, start, end in cries:
            length = round(length_s * RATE_HZ)
            bent = pitch * _curve(length, start, 1.05 * max(start, end), end)
            voice = _tone(bent * (1 + 0.01 * _noise(r, length, 30, 150)), _throat(1200, 2600, 4000, tilt=0.4), 14)
            parts += [voice * _swell(length, 0.02, 0.06), np.zeros(round(0.05 * RATE_HZ))]
        return np.concatenate(parts)

    return _repeat(rng, count, (2.2, 3.5), crow)


def _sea_waves(rng: np.random.Generator, count: int) -> Wave:
    """Surf: noise that swells every few seconds, brighter as it breaks."""
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.12, 0.35) * _seconds(count) + rng.uniform(0, 6))
    deep, foam = _noise(rng, count, 40, 500, 0.6), _noise(rng, count, 400, 8000, 0.5)
    return (0.3 + swell) * deep + rng.uniform(0.5, 1.2) * swell ** rng.uniform(1.5, 3) * foam


def _sneezing(rng: np.random.Generator, count: int) -> Wave:
    """A breath in, now and then, and the burst."""
    pitch = rng.uniform(150, 350)

    def sneeze(r: np.random.Generator) -> Wave:
        inward, burst = _length(r, 0.2, 0.5), _length(r, 0.2, 0.45)
        breath = 0.12 * _noise(r, inward, 800, 5000) * _curve(inward, 0, 0.5, 1, 0.2)
        voice = _tone(pitch * _curve(burst, 1.3, 1.0, 0.8), _throat(700, 1800, 3000), 20)
        air = _noise(r, burst, 900, 9500) * _curve(burst, 1, 0.7, 0.3, 0)
        return np.concatenate([breath, (air + 0.4 * voice / voice.std() * _curve(burst, 0.3, 1, 0.3, 0))])

    return _repeat(rng, count, (1.8, 4.5), sneeze)


def _telephone(rng: np.random.Generator, count: int) -> Wave:
    """Rings of a second: two bells struck in turn, or the electronic kind."""
    pitch, pace = rng.uniform(500, 1600), rng.uniform(14, 28)

    def ring(r: np.random.Generator) -> Wave:
        length = _length(r, 0.8, 1.3)
        t = _seconds(length)
        turn = 0.5 + 0.5 * np.tanh(6 * np.sin(2 * np.pi * pace * t))
        one, other = np.sin(2 * np.pi * pitch * t), np.sin(2 * np.pi * 1.25 * pitch * t)
        over = 0.4 * np.sin(2 * np.pi * 2.7 * pitch * t)
        return (turn * one + (1 - turn) * other + over * turn) * _swell(length, 0.01, 0.2)

    return _repeat(rng, count, (1.5, 2.4), ring)


def _violin(rng: np.random.Generator, count: int) -> Wave:
    """Bowed notes with vibrato."""
    root = rng.uniform(196, 520)

    def note(r: np.random.Generator) -> Wave:
        length = _length(r, 0.4, 1.2)
        pitch = root * 2 ** (r.choice([0, 2, 4, 5, 7, 9, 12]) / 12)
        vibrato = 1 + 0.008 * np.sin(2 * np.pi * r.uniform(5, 7) * _seconds(length))
        return _tone(pitch * vibrato, _throat(500, 1000, 2800, tilt=0.6), 20) * _swell(length, 0.1, 0.12)

    return _repeat(rng, count, (0.4, 1.0), note)


def _whistle(rng: np.random.Generator, count: int) -> Wave:
    """A referee's whistle: a high tone that the pea makes flutter."""
    pitch, flutter = rng.uniform(2000, 3600), rng.uniform(20, 45)

    def blow(r: np.random.Generator) -> Wave:
        length = _length(r, 0.3, 1.2)
        shake = np.sin(2 * np.pi * flutter * _seconds(length))
        return _tone(pitch * (1 + 0.02 * shake), [1, 0.2]) * (1 + 0.5 * shake) * _swell(length, 0.02, 0.05)

    return _repeat(rng, count, (0.8, 1.8), blow)


_MAKERS: dict[str, Maker] = {
    "ambulance": _ambulance,
    "bell": _bell,
    "bird": _bird,
    "cat": _cat,
    "chainsaw": _chainsaw,
    "clock_tick": _clock_tick,
    "cow": _cow,
    "crackling_fire": _crackling_fire,
    "crying_baby": _crying_baby,
    "dog": _dog,
    "drums": _drums,
    "frog": _frog,
    "guitar": _guitar,
    "hammer": _hammer,
    "helicopter": _helicopter,
    "lightning": _lightning,
    "mosquito": _mosquito,
    "owl": _owl,
    "piano": _piano,
    "rain": _rain,
    "rooster": _rooster,
    "sea_waves": _sea_waves,
    "sneezing": _sneezing,
    "telephone": _telephone,
    "violin": _violin,
    "whistle": _whistle,
}
LABELS = tuple(_MAKERS)  # those of ESC-10 are spelt as there; new ones go to the end, as a label's place is in its seed
