"""clipx demo: the samples of the clone, named by words, as pictures and one page."""

from __future__ import annotations

import io
import os
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._flags import BatchFlag, ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, SeedFlag, SpaceFlag, read_toml
from clipx.errors import FileError, InputError

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.cli._page import Panel
    from clipx.modality import Modality
    from clipx.zeroshot import Prediction

PICTURE_PX = 720  # longest side of a picture on the page


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures and index.html.")] = Path(
        "clipx-demo"
    ),
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples", help="Folder with demo.toml. Default: examples/data of the clone.", show_default=False
        ),
    ] = None,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    batch_size: BatchFlag = 32,
    seed: SeedFlag = 0,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Name sample photos, drawings, clouds and meshes by words, and write what was seen as pictures and one page.

    Example: clipx demo -o clipx-demo
    """
    from clipx.api import make_modality
    from clipx.cli._output import emit, note, print_table, progress, report, write_whole
    from clipx.cli._page import page
    from clipx.cli._work import open_space
    from clipx.registry import modality_of
    from clipx.zeroshot import ZeroShotClassifier

    started = time.perf_counter()
    folder = samples or _clone_samples()
    labels, wanted = _read_plan(folder)
    if out.exists() and not out.is_dir():
        raise FileError("is not a folder", where=out, remedy="choose another with -o")
    joint = open_space(space, device, dtype, seed)
    panels: list[Panel] = []
    results: list[dict[str, Any]] = []
    encoders: dict[str, Modality] = {}
    pictures: dict[Path, bytes] = {}
    with progress("looking", len(wanted)) as advance:
        for entry in wanted:
            path, shown = _locate(entry["file"], folder, out, pictures)
            name = modality_of(path)
            encoder = encoders.setdefault(name, make_modality(name, joint))
            prompts = entry.get("prompts", encoder.prompts)
            sample = encoder.load(path)
            predictions = ZeroShotClassifier(joint, labels, prompts).predict(encoder.encode([sample]), top_k=5)[0]
            views = encoder.pictures(sample)
            views = views if views is not None else _blank()
            picture = _encode(_montage(views), "JPEG" if shown != path else "PNG")
            if shown == path:
                pictures[out / f"{path.stem}.png"] = picture
            command = _command(shown, folder, entry.get("prompts"), joint.name)
            panels.append(_panel(entry, shown, picture, len(views), predictions, command))
            results.append(
                {
                    "path": shown,
                    "modality": name,
                    "expected": entry.get("is"),
                    "predictions": [asdict(p) for p in predictions],
                    "command": command,
                }
            )
            advance(1)

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", where=out) from error
    for path, data in pictures.items():
        write_whole(path, lambda file, data=data: file.write(data))
    html = page(panels, f"{joint.name} ({joint.id})", _summary(results, len(labels)), _caveat(joint.embedded))
    write_whole(out / "index.html", lambda file: file.write(html.encode()))
    seconds = round(time.perf_counter() - started, 1)
    record = report("demo", results, space=joint.name, space_id=joint.id, page=out / "index.html", seconds=seconds)

    def table() -> None:
        rows = [
            (r["path"].name, r["modality"], p["label"], f"{p['cosine']:.3f}", f"{p['probability']:.1%}")
            for r in results
            for p in r["predictions"][:1]
        ]
        print_table(("file", "modality", "word", "cosine", "probability"), rows)
        note(f"page: {out / 'index.html'} ({seconds} s)")

    emit(record, as_json, table)


def _clone_samples() -> Path:
    import clipx

    folder = Path(clipx.__file__).parents[1] / "examples" / "data"
    if not (folder / "demo.toml").is_file():
        raise FileError(
            "this installation has no samples (they are in the clone, not in the wheel)",
            where="clipx demo",
            remedy="name the clone's examples/data with --samples",
        )
    return folder


def _read_plan(folder: Path) -> tuple[list[str], list[dict[str, str]]]:
    """``labels.txt`` and ``demo.toml``: [[sample]] tables of file, kind, alt and, where it applies, is and prompts.

    A file ``skimage:NAME`` is a photo that comes with scikit-image.
    """
    from clipx.api import parse_labels

    plan = folder / "demo.toml"
    wanted = read_toml(plan).get("sample")
    if not isinstance(wanted, list) or not wanted:
        raise InputError("holds no [[sample]]", where=plan)
    for entry in wanted:
        lacking = {"file", "kind", "alt"} - set(entry)
        unknown = set(entry) - {"file", "kind", "alt", "is", "prompts"}
        if lacking or unknown:
            raise InputError(
                f"a [[sample]] {'lacks' if lacking else 'has unknown'} {(lacking or unknown).pop()!r}", where=plan
            )
    return parse_labels(f"@{folder / 'labels.txt'}"), wanted


def _locate(file: str, folder: Path, out: Path, pictures: dict[Path, bytes]) -> tuple[Path, Path]:
    """(the file to read, the file to name in the command): a bundled photo is copied to ``out`` for a short name."""
    if not file.startswith("skimage:"):
        path = folder / file
        if not path.is_file():
            raise FileError("no such file", where=path)
        return path, path
    import skimage

    path = Path(skimage.data_dir) / file.removeprefix("skimage:")
    if not path.is_file():
        raise FileError("is not in this scikit-image", where=path, remedy="pip install 'scikit-image>=0.25'")
    pictures[out / path.name] = path.read_bytes()
    return path, out / path.name


def _montage(views: Tensor) -> Tensor:
    """(V, 3, H, W) -> (3, R * H, C * W): the views side by side, up to five in a row, a pixel's seam between them."""
    import torch
    from torch.nn.functional import pad

    if len(views) == 1:
        return views[0]
    columns = min(len(views), 5)
    views = pad(views, (1, 1, 1, 1), value=0.25)
    empty = -len(views) % columns
    views = torch.cat([views, torch.zeros(empty, *views.shape[1:])]) if empty else views
    rows = views.unflatten(0, (-1, columns))  # (R, C, 3, H, W)
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def _encode(picture: Tensor, kind: str) -> bytes:
    from PIL import Image

    image = Image.fromarray((picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    image.thumbnail((PICTURE_PX, PICTURE_PX))
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 88} if kind == "JPEG" else {"optimize": True}))
    return file.getvalue()


def _blank() -> Tensor:
    import torch

    return torch.full((1, 3, 8, 8), 0.5)


def _panel(
    entry: dict[str, str], shown: Path, picture: bytes, views: int, predictions: list[Prediction], command: str
) -> Panel:
    from clipx.cli._page import Panel

    alt = entry["alt"] if views == 1 else f"{entry['alt']}, seen from {views} sides"
    return Panel(shown.name, entry["kind"], picture, alt, predictions, command)


def _command(shown: Path, folder: Path, prompts: str | None, space: str) -> str:
    words = ["clipx", "classify", _short(shown), "--labels", f"@{_short(folder / 'labels.txt')}"]
    words += ["--prompts", prompts] if prompts else []
    return shlex.join(words + (["--space", space] if space != "nano" else []))


def _short(path: Path) -> str:
    """The path as it is best typed from here."""
    beside = os.path.relpath(path)
    return str(path) if beside.startswith("..") else beside


def _summary(results: list[dict[str, Any]], labels: int) -> str:
    told = [r for r in results if r["expected"] is not None]
    right = sum(r["predictions"][0]["label"] == r["expected"] for r in told)
    senses = " and ".join(sorted({r["modality"] for r in results}))
    return (
        f"{len(results)} files of {senses}, all in one frozen joint space, each named by one of the same {labels} "
        f"words. {right} of {len(told)} are named right."
    )


def _caveat(embedded: bool) -> str:
    from clipx.cli._work import REAL_CLIP

    if not embedded:
        return "The space is a pretrained CLIP with an open vocabulary."
    return (
        "The space is embedded in clipx: it is small and knows a few hundred everyday words. "
        f"For an open vocabulary take a real CLIP: clipx demo --space {REAL_CLIP}"
    )
