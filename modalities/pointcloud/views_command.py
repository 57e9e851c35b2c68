"""clipx views: clouds and meshes -> one picture of all that a projection shows of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    import numpy as np

    from clipx.errors import ClipxError
    from clipx.modalities.pointcloud.encoder import CloudConfig

GAP, CAPTION = 6, 18  # pixels of the contact sheet
PAPER, INK = (236, 236, 236), (40, 40, 40)  # neither the white ground of some projections nor the black one of others


@takes("seed", "as_json", "config")
def views(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Clouds and meshes.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: a .png file.")] = Path("views.png"),
    size: Annotated[
        int, typer.Option("--size", help="Side of each view in pixels; those of a fixed size are resized.", min=16)
    ] = 224,
    *,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Write a contact sheet: each file a row, each view of the projection a picture.

    It is what a joint space is shown (raw depth as grey, the farthest point
    white), so it tells a wrong up axis and an unsuited projection at a glance. A
    file that cannot be read is named at the end, and the exit status is then 2.

    Example: clipx views chair.ply table.stl --projection shaded -o views.png
    """
    from clipx.cli._flags import settings_of
    from clipx.cli._output import check_writable, print_table, report
    from clipx.errors import InputError
    from clipx.files import check_present, write_whole
    from clipx.modalities.pointcloud.encoder import CloudConfig
    from clipx.modalities.pointcloud.projection import get_projection
    from clipx.pictures import MAX_PIXELS

    if out.suffix.lower() != ".png":
        raise InputError(f"suffix {out.suffix!r} is not .png", where=out)
    check_writable(out)
    check_present(files)
    chosen = CloudConfig(**settings_of(["pointcloud"], settings)["pointcloud"])
    entry = get_projection(chosen.projection)
    if len(files) * entry.views * (size + GAP) * (size + GAP + CAPTION) > MAX_PIXELS:
        raise InputError(
            f"{len(files) * entry.views} views of {size} pixels are too large a picture",
            remedy="name fewer files or a smaller --size",
        )
    failures: dict[str, ClipxError] = {}
    rows, results = _drawn(files, chosen, size, failures)
    if rows:
        write_whole(out, _sheet(rows))
    about = {"projection": chosen.projection, "views": entry.views, "size": size, "seed": run.seed}
    record = report("views", results, out=out if rows else None, **about)
    table = [(str(r["path"]), str(r["points"]), str(r["up"]), str(entry.views)) for r in results]
    columns = ("file", "points", "up", "views")
    run.conclude(record, failures, lambda: print_table(columns, table, title=str(out)))


def _drawn(
    files: Sequence[Path], config: CloudConfig, size: int, failures: dict[str, ClipxError]
) -> tuple[list[tuple[str, np.ndarray]], list[dict[str, Any]]]:
    """Names with (V, 3, size, size) views, and a row of results each; what cannot be read goes to ``failures``."""
    from clipx.errors import ClipxError
    from clipx.modalities.pointcloud.cloud import draw
    from clipx.modalities.pointcloud.encoder import load_cloud
    from clipx.modalities.pointcloud.projection import get_projection, resized
    from clipx.progress import progress

    rows, results = [], []
    with progress("drawing", len(files)) as advance:
        for path in files:
            try:
                cloud = load_cloud(path, config)
                drawn = draw([cloud], config.projection, size, backend=config.backend)[0]
            except ClipxError as error:
                failures[str(path)] = error
                advance(1)
                continue
            pictures = get_projection(config.projection).visible(drawn)  # (V, 3, R, R)
            rows.append((str(path), resized(pictures, size).clip(0, 1)))
            triangles = None if cloud.mesh is None else len(cloud.mesh.triangles)
            results.append({"path": path, "up": cloud.up, "points": len(cloud.points), "triangles": triangles})
            advance(1)
    return rows, results


def _sheet(rows: Sequence[tuple[str, np.ndarray]]) -> bytes:
    """A PNG: names, and beneath each its (V, 3, R, R) pictures in [0, 1], of one size."""
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    count, _, _, side = rows[0][1].shape
    sheet = pil.new("RGB", (GAP + count * (side + GAP), len(rows) * (CAPTION + side + GAP)), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, (name, pictures) in enumerate(rows):
        top = row * (CAPTION + side + GAP)
        while len(name) > 4 and pen.textlength(name, font) > sheet.width - 2 * GAP:
            name = "..." + name[4:]  # the end of a path tells more than its beginning
        pen.text((GAP, top + 2), name, INK, font)
        pixels = (pictures * 255).round().astype("uint8").transpose(0, 2, 3, 1)
        for column in range(count):
            sheet.paste(pil.fromarray(pixels[column]), (GAP + column * (side + GAP), top + CAPTION))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
