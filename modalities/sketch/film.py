"""Drawings as files that show them: a PNG, a GIF or an MP4 of how one came to be, its losses as a curve."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipx.errors import InputError, UnsupportedError, first_line
from clipx.films import pyav
from clipx.modalities.sketch.curves import lengths_along, parts, until
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.svg import Strokes

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

GIF_FRAMES = 60  # at most
HOLD_S = 1.5  # how long the last frame stays
GREYS = 16  # of a GIF in black: enough for a line's edge
COLOURS = 127  # of a GIF in colour, besides white
LEVELS = 32  # of red, green and blue that a GIF's colours are looked up by
MP4_RATE_HZ = 30
MP4_NEEDS = ("an MP4 needs PyAV", ", or take a GIF")  # arguments of ``clipx.films.pyav``


def pixels(strokes: Strokes, scale: float = 1.0) -> np.ndarray:
    """What the SVG of the strokes shows, on white.

    Args:
        strokes: ``box`` is what is shown of the canvas.
        scale: pixels of the picture in one of the canvas; widths grow along.

    Returns:
        (3, H, W) float32 RGB in [0, 1]; H and W are the box's, scaled and rounded, at least 1.

    Raises:
        InputError: as in ``rasterize``: numbers that are not finite or too large, a picture of more than 16384 pixels.
    """
    left, top, width, height = strokes.box
    pieces = in_pieces(strokes)
    if len(pieces) > len(strokes) and (strokes.alpha < 1).any():
        raise InputError("strokes of several segments, or of a width profile, are opaque")
    painted = rasterize(
        (pieces.points - np.array((left, top), pieces.points.dtype)) * scale,
        (max(1, round(height * scale)), max(1, round(width * scale))),
        width_px=pieces.width_px * scale,
        alpha=pieces.alpha.clip(0, 1),
        color=pieces.color.clip(0, 1),
    )
    return painted.clip(0, 1)


def in_pieces(strokes: Strokes) -> Strokes:
    """The same drawing in strokes of one segment and of even width."""
    curves, share = parts(strokes.points, strokes.profile)
    each = curves.shape[1]
    return replace(
        strokes,
        points=curves.reshape(len(strokes) * each, 4, 2),
        width_px=(strokes.width_px[:, None] * share).ravel(),
        alpha=strokes.alpha.repeat(each),
        color=strokes.color.repeat(each, 0),
        profile="even",
    )


def picture(strokes: Strokes, scale: float = 1.0) -> np.ndarray:
    """``pixels`` as (H, W, 3) uint8."""
    return np.ascontiguousarray((pixels(strokes, scale) * 255).round().astype(np.uint8).transpose(1, 2, 0))


def png(strokes: Strokes, scale: float = 1.0) -> bytes:
    """``pixels`` as a PNG file."""
    from PIL import Image as pil

    file = io.BytesIO()
    pil.fromarray(picture(strokes, scale)).save(file, "PNG", optimize=True)
    return file.getvalue()


def stroke_by_stroke(strokes: Strokes, frames: int = GIF_FRAMES) -> list[Strokes]:
    """The drawing as a pen draws it, stroke after stroke in their order, at an even pace: a frame each.

    Args:
        strokes: the drawing.
        frames: how many, at least 1. The last is the drawing itself; a stroke that is not finished is cut where the pen
            is. Where strokes are many, several come with one frame.
    """
    if frames < 1:
        raise InputError(f"a film has at least 1 frame, got {frames}")
    if not len(strokes):
        return [strokes] * frames
    whole_drawing = strokes
    if strokes.profile != "even":  # a stroke is as wide when it is begun as when it is done
        strokes = in_pieces(strokes)
    along = lengths_along(strokes.points)  # (N, samples)
    # A dot takes time too, as long as its width would.
    done = np.cumsum(along[:, -1].astype(np.float64) + strokes.width_px.clip(min=1e-3))
    film = []
    for frame in range(1, frames):
        way = done[-1] * frame / frames
        whole = int(np.searchsorted(done, way, side="right"))
        before = done[whole - 1] if whole else 0
        reached = float((way - before) / (done[whole] - before)) * float(along[whole, -1])
        begun = strokes[: whole + 1]
        points = begun.points.copy()
        shares = np.linspace(0, 1, along.shape[1])
        points[-1] = until(points[-1], float(np.interp(reached, along[whole], shares)))
        film.append(replace(begun, points=points))
    return [*film, whole_drawing]


def gif(frames: Sequence[Strokes], seconds: float = 4.0, scale: float = 2.0) -> bytes:
    """An animated GIF that loops: the same frames give the same bytes.

    Args:
        frames: of one drawing, so with one box. Of more than 60, 60 are shown, evenly chosen, the last always.
        seconds: until the last frame comes, which stays for 1.5 s.
        scale: pixels of the film in one of the canvas.

    Raises:
        InputError: no frames, frames of several boxes, or a time that is not positive.
    """
    _check(frames, seconds)
    shown = [picture(frames[i], scale) for i in _evenly(len(frames), min(len(frames), GIF_FRAMES))]
    # A GIF counts hundredths of a second; viewers take less than 2 for 10.
    ticks = [round(100 * seconds * i / max(1, len(shown) - 1)) for i in range(len(shown))]
    durations = [10 * max(2, after - before) for before, after in pairwise(ticks)] + [round(1000 * HOLD_S)]
    first, *rest = _with_one_palette(shown, grey=not any(frame.color.any() for frame in frames))
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, disposal=1)
    return file.getvalue()


def mp4(frames: Sequence[Strokes], seconds: float = 4.0, scale: float = 2.0) -> bytes:
    """An MP4 film (H.264, yuv420p, 30 frames a second) that any player shows; an odd side gets a white line more.

    Args:
        frames: of one drawing, so with one box; they are repeated or left out to fill the time, the last always shown.
        seconds: until the last frame comes, which stays for 1.5 s.
        scale: pixels of the film in one of the canvas.

    Raises:
        InputError: as in ``gif``.
        MissingDependencyError: PyAV is not installed.
        UnsupportedError: its FFmpeg is one without H.264.
    """
    _check(frames, seconds)
    av = pyav(*MP4_NEEDS)
    shown = _evenly(len(frames), max(1, round(seconds * MP4_RATE_HZ)))
    shown += [shown[-1]] * round(HOLD_S * MP4_RATE_HZ)
    pictures = {i: _even(picture(frames[i], scale)) for i in set(shown)}
    height, width, _ = pictures[shown[0]].shape
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    coded = {"crf": "20", "mbtree": "0"}  # by which x264's bytes differ from run to run
    how = av.video.reformatter.Interpolation
    exact = how.BICUBIC | how.ACCURATE_RND | how.BITEXACT  # else bytes depend on where in memory a picture lies
    with tempfile.TemporaryDirectory() as folder:  # the index moves to the start of a file, which is read again for it
        path = Path(folder, "film.mp4")
        try:
            with av.open(str(path), "w", container_options=options) as container:
                stream = container.add_stream("libx264", MP4_RATE_HZ, options=coded)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.thread_count = 1  # the bytes depend on it
                for i in shown:
                    frame = av.VideoFrame.from_ndarray(pictures[i], format="rgb24")
                    container.mux(stream.encode(frame.reformat(format="yuv420p", interpolation=exact, threads=1)))
                container.mux(stream.encode(None))
        except (av.FFmpegError, ValueError) as error:  # ValueError: no encoder of that name
            what = f"FFmpeg cannot write the film: {first_line(error)}"
            raise UnsupportedError(what, remedy="take a GIF instead") from error
        return path.read_bytes()


def loss_curve(histories: Mapping[str, Sequence[float]], title: str) -> bytes:
    """A PNG of how losses fell.

    Args:
        histories: label -> loss of the plain view at each step; a line each.
        title: above the curves.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))  # not pyplot's: a caller's backend stays as it is
    axes = figure.subplots()
    for label, losses in histories.items():
        axes.plot(range(1, len(losses) + 1), losses, label=label, linewidth=1.5)
    axes.set(xlabel="step", ylabel="loss of the plain view", title=title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if histories:
        axes.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------- frames


def _check(frames: Sequence[Strokes], seconds: float) -> None:
    if not frames:
        raise InputError("a film has at least 1 frame, got none")
    if any(frame.box != frames[0].box for frame in frames):
        raise InputError("the frames of a film must have one box")
    if not 0 < seconds < 3600:
        raise InputError(f"seconds must be positive and less than an hour, got {seconds}")


def _evenly(count: int, wanted: int) -> list[int]:
    """``wanted`` numbers from 0 to ``count - 1``, evenly spread; the last is ``count - 1``."""
    return [round((count - 1) * i / (wanted - 1)) for i in range(wanted - 1)] + [count - 1]


def _with_one_palette(pictures: list[np.ndarray], grey: bool) -> list[Picture]:
    """(H, W, 3) each -> all with the same few colours, white exactly white; nothing is dithered, that would flicker."""
    from PIL import Image as pil

    levels = GREYS if grey else LEVELS
    rounded = [(each * ((levels - 1) / 255)).round().astype(np.uint8) for each in pictures]
    if grey:
        palette = np.linspace(0, 255, GREYS).repeat(3).reshape(-1, 3)
        found = [each[:, :, 0] for each in rounded]
    else:
        some = np.concatenate(pictures[:: -(-len(pictures) // 8)] + pictures[-1:])
        chosen = pil.fromarray(some).quantize(COLOURS, pil.Quantize.MEDIANCUT).getpalette() or []
        palette = np.concatenate([np.array(chosen).reshape(-1, 3), [[255, 255, 255]]])
        cube = np.stack(np.meshgrid(*[np.linspace(0, 255, LEVELS)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        # the nearest colour p to a place c of the cube: the least |p|^2 - 2 pc
        nearest = ((palette**2).sum(1) - 2 * cube @ palette.T).argmin(1).astype(np.uint8)
        found = [nearest[each.astype(int) @ (LEVELS**2, LEVELS, 1)] for each in rounded]
    images = [pil.fromarray(numbers) for numbers in found]
    for image in images:
        image.putpalette(palette.round().astype(np.uint8).tobytes())
    return images


def _even(pixels: np.ndarray) -> np.ndarray:
    height, width, _ = pixels.shape
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)
