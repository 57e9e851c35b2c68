"""clipx demo: the samples of the clone, named by words, as pictures and one page."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, SeedFlag, SpaceFlag, read_toml
from clipx.errors import FileError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from torch import Tensor

    from clipx.modality import Modality
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier

HITS = 5  # of a search
SKIMAGE = "skimage:"  # how the name of a photo begins that scikit-image brings
PICTURE_PX = 720  # longest side of a picture on the page
SECTIONS = {  # of the page below the samples, in this order, and what demo.toml says of each
    "search": ("title", "note", "files", "queries"),
    "run": ("title", "note", "run", "folder", "columns", "rows", "spaces"),
    "sheet": ("title", "note", "command", "columns", "rows"),
}


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
    seed: SeedFlag = 0,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Name sample photos, drawings, clouds, meshes and sounds, search and draw them, and write it all as one page.

    Example: clipx demo -o clipx-demo
    """
    import torch

    from clipx.api import make_modality
    from clipx.cli._output import emit, print_table, report, write_bytes
    from clipx.cli._page import Found, Panel, Searches, Sheet, page
    from clipx.cli._sound import player
    from clipx.cli._work import make_classifier, open_space, space_name
    from clipx.modality import pictures_of
    from clipx.progress import note, progress
    from clipx.registry import modality_of
    from clipx.space import default_name
    from clipx.training import prepare_folder

    started = time.perf_counter()
    folder = samples or _clone_samples()
    labels, wanted, wanted_sections = _read_plan(folder)
    if out.exists() and not out.is_dir():
        raise FileError("is not a folder", where=out, remedy="choose another with -o")
    prepare_folder(out, resume=True)
    space = space_name(space)
    joint = open_space(space, device, dtype, seed)
    panels: list[Panel] = []
    results: list[dict[str, Any]] = []
    encoders: dict[str, Modality] = {}  # by modality and settings
    settings: dict[str, dict[str, Any]] = {entry["file"]: entry.get("settings", {}) for entry in wanted}
    classifiers: dict[str, ZeroShotClassifier] = {}  # by prompts
    files: dict[Path, bytes] = {}  # to be written, page last
    copied: set[Path] = set()
    indexes: dict[tuple[str, ...], Path] = {}  # by what they hold

    def encoder_of(file: str) -> Modality:
        name, chosen = modality_of(_locate(file, folder)), settings.get(file, {})
        if (key := repr((name, chosen))) not in encoders:
            encoders[key] = make_modality(name, joint, chosen)
            if lacking := encoders[key].unavailable():
                note(f"left out: {lacking}")
        return encoders[key]

    def shows(file: str) -> bool:
        return encoder_of(file).unavailable() is None

    def typed(word: str) -> str:
        """A word of a command as it is typed from here; a photo of scikit-image is copied, to have a short name."""
        if not _is_sample(word, folder):
            return word
        path = _locate(word, folder)
        if word.startswith(SKIMAGE):
            if (copy := out / path.name) not in copied:
                write_bytes(copy, path.read_bytes())
                copied.add(copy)
            path = copy
        return _short(path)

    def command(*words: str) -> str:
        own = space != default_name() and "--space" not in words
        return shlex.join(["clipx", *words, *(["--space", space] if own else [])])

    with progress("looking", len(wanted)) as advance:
        for entry in wanted:
            if not shows(entry["file"]):
                continue
            path = _locate(entry["file"], folder)
            encoder = encoder_of(entry["file"])
            sample = encoder.load(path)
            prompts = entry.get("prompts", encoder.prompts)
            if prompts not in classifiers:
                classifiers[prompts] = make_classifier(joint, labels, prompts)
            predictions = classifiers[prompts].predict(encoder.encode([sample]), top_k=5)[0]
            views = pictures_of(encoder, sample)
            sound = player(path, None, None, path.name)
            if entry["file"].startswith(SKIMAGE):
                picture = _thumbnail(path.read_bytes())
            else:
                picture = _png(_montage(views)) if views is not None else _png(torch.full((3, 90, 160), 0.5))
                files[out / f"{entry['file'].replace('/', '-')}.png"] = picture  # chair.off and chair.ply differ
            alt = entry["alt"] if views is None or len(views) == 1 else f"{entry['alt']}, from {len(views)} sides"
            words = ["classify", typed(entry["file"]), "--labels", f"@{_short(folder / 'labels.txt')}"]
            words += ["--prompts", entry["prompts"]] if "prompts" in entry else []
            line = command(*words, *(text for name in settings[entry["file"]] for text in _flag(name, entry)))
            panels.append(Panel(path.name, entry["kind"], picture, alt, predictions, entry.get("is"), line, sound))
            results.append(
                {
                    "path": path,
                    "modality": encoder.name,
                    "expected": entry.get("is"),
                    "predictions": [asdict(p) for p in predictions],
                    "command": line,
                }
            )
            advance(1)

    @cache  # a hit of several searches is drawn once
    def looked(file: str) -> bytes:
        path = _locate(file, folder)
        if file.startswith(SKIMAGE):
            return _thumbnail(path.read_bytes())
        encoder = encoder_of(file)
        views = pictures_of(encoder, encoder.load(path))
        return _png(torch.full((3, 90, 160), 0.5) if views is None else _montage(views))

    def seen(file: str, alt: str) -> tuple[bytes, str]:
        return looked(file), alt

    def indexed(gallery: Collection[str]) -> Path:
        """An index of these files in the page's folder, made once."""
        from clipx.index import Index

        if (known := tuple(gallery)) not in indexes:
            indexes[known] = place = out / f"search-{len(indexes) + 1}.index"
            shutil.rmtree(place, ignore_errors=True)  # of a demo before this one
            with Index.create(place, joint) as index:
                index.add(gallery)
        return indexes[known]

    def searched(entry: Mapping[str, Any]) -> Searches:
        from clipx.index import Index

        gallery = {str(_locate(file, folder).resolve()): file for file in entry["files"]}
        rows: list[Found] = []
        place = indexed(gallery)
        with Index.open(place, joint) as index:
            for query in entry["queries"]:
                words = query.split(" ")
                named = [word for word in words if _is_sample(word, folder)]
                if not all(map(shows, named)):
                    continue
                asked = "".join(
                    player(path := _locate(word, folder), None, None, path.name) or _image(*seen(word, path.name))
                    for word in named
                )
                hits = index.search(" ".join(str(_locate(w, folder)) if w in named else w for w in words), k=HITS)
                shown = [(seen(gallery[hit.path], "")[0], Path(hit.path).name, hit.score) for hit in hits]
                line = command("search", " ".join(map(typed, words)), "--db", _short(place))
                rows.append(Found(query.replace(SKIMAGE, ""), asked, shown, line))
        return Searches(entry["title"], entry["note"], rows)

    def made(entry: Mapping[str, Any]) -> Sheet:
        """Run a command of ours into the page's folder, and show pictures that it wrote."""
        from clipx.cli import main

        begun = time.perf_counter()
        words = [*map(typed, entry["run"]), "-o", _short(out / entry["folder"])]
        note(command(*words))
        with contextlib.redirect_stdout(io.StringIO()):
            own = [] if "--space" in words else ["--space", space]
            status = main([*words, *own, "--device", device])
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise InputError(f"clipx {entry['run'][0]} ended with status {status}", where="clipx demo")

        def written(file: str, alt: str) -> tuple[bytes, str]:
            if file.startswith(SKIMAGE):
                return seen(file, alt)
            path = (folder if (folder / file).is_file() else out / entry["folder"]) / file
            if not path.is_file():
                raise FileError("was not written", where=path, remedy="correct the row in demo.toml")
            return _small(path), alt

        done = sheet({**entry, "command": command(*words)}, written)
        return replace(done, note=f"{done.note} Made in {time.perf_counter() - begun:.0f} s.")

    def sheet(entry: Mapping[str, Any], look: Callable[[str, str], tuple[bytes, str]] = seen) -> Sheet:
        rows = [
            [look(file, f"{alt}: {c}") for file, c in zip(files, entry["columns"], strict=True)]
            for alt, *files in entry["rows"]
        ]
        line = shlex.join(map(typed, shlex.split(entry["command"])))
        return Sheet(entry["title"], entry["note"], entry["columns"], rows, line)

    sections: list[Sheet | Searches] = []
    for kind, entry in wanted_sections:
        if kind == "search":
            sections.append(searched(entry))
        elif kind == "sheet":
            sections.append(sheet(entry))
        elif joint.name in (entry["spaces"] or [joint.name]):
            sections.append(made(entry))
    sections = [part for part in sections if part.rows]
    for path, data in files.items():
        write_bytes(path, data)
    html = page(panels, sections, f"{joint.name} ({joint.id})", _summary(results, len(labels)), _caveat(joint))
    write_bytes(out / "index.html", html.encode())
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


def _read_plan(folder: Path) -> tuple[list[str], list[dict[str, Any]], list[tuple[str, dict[str, Any]]]]:
    """``labels.txt`` and ``demo.toml``: [[sample]] tables of file, kind, alt and, where it applies, is, prompts and
    settings of its modality.

    The sections below the samples are, in this order, [[search]] with title, note, files (to search among) and queries;
    [[run]] with title, note, run (arguments of clipx), folder (where it writes), columns, rows and
    spaces (the only ones it is for; none: all), each row what it shows in words and then a written file, or one of the
    samples, a column; and [[sheet]], which shows files that are there. A file ``skimage:NAME`` is a photo that comes
    with scikit-image.
    """
    from clipx.api import parse_labels

    plan = folder / "demo.toml"
    told = read_toml(plan)
    wanted = told.get("sample")
    if not isinstance(wanted, list) or not wanted:
        raise InputError("holds no [[sample]]", where=plan)
    for entry in wanted:
        lacking = {"file", "kind", "alt"} - set(entry)
        unknown = set(entry) - {"file", "kind", "alt", "is", "prompts", "settings"}
        if lacking or unknown:
            raise InputError(
                f"a [[sample]] {'lacks' if lacking else 'has unknown'} {(lacking or unknown).pop()!r}", where=plan
            )
    sections = [(kind, entry) for kind in SECTIONS for entry in told.get(kind, [])]
    for kind, entry in sections:
        if set(entry) != set(SECTIONS[kind]):
            raise InputError(f"a [[{kind}]] has {', '.join(SECTIONS[kind])}", where=plan)
        if any(len(row) != 1 + len(entry["columns"]) for row in entry.get("rows", [])):
            raise InputError(f"a row of a [[{kind}]] is what it shows and then a file a column", where=plan)
    return parse_labels(f"@{folder / 'labels.txt'}"), wanted, sections


def _is_sample(word: str, folder: Path) -> bool:
    """Whether a word of a query or a command is a file of ``_locate``."""
    return word.startswith(SKIMAGE) or (folder / word).is_file()


def _locate(file: str, folder: Path) -> Path:
    """The file of a sample: in the folder, or a photo that comes with scikit-image."""
    if file.startswith(SKIMAGE):
        import skimage

        path = Path(skimage.__file__).parent / "data" / file.removeprefix(SKIMAGE)
    else:
        path = folder / file
    if not path.is_file():
        raise FileError("no such file", where=path)
    return path


def _montage(views: Tensor) -> Tensor:
    """(V, 3, H, W) -> (3, R * H, C * W): the views as near to a square as full rows allow, a seam between them."""
    import torch
    from torch.nn.functional import pad

    if len(views) == 1:
        return views[0]
    columns = next(c for c in range(math.isqrt(len(views) - 1) + 1, len(views) + 1) if len(views) % c == 0)
    rows = pad(views, (1, 1, 1, 1), value=0.25).unflatten(0, (-1, columns))  # (R, C, 3, H, W)
    return torch.permute(rows, (2, 0, 3, 1, 4)).flatten(3, 4).flatten(1, 2)


def _png(picture: Tensor) -> bytes:
    from PIL import Image

    return _compressed(
        Image.fromarray((picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()), "PNG"
    )


def _small(path: Path) -> bytes:
    """A written picture as it stands on the page; a film stays a film."""
    data = path.read_bytes()
    return data if path.suffix == ".gif" else _thumbnail(data)


def _image(picture: bytes, alt: str) -> str:
    from clipx.cli._page import source

    return f'<img src="{source(picture)}" alt="{alt}">'


def _thumbnail(photo: bytes) -> bytes:
    from PIL import Image

    return _compressed(Image.open(io.BytesIO(photo)).convert("RGB"), "JPEG")


def _compressed(image: Picture, kind: str) -> bytes:
    file = io.BytesIO()
    image.thumbnail((PICTURE_PX, PICTURE_PX))
    image.save(file, kind, **({"quality": 88} if kind == "JPEG" else {"optimize": True}))
    return file.getvalue()


def _flag(name: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    return f"--{name.replace('_', '-')}", str(entry["settings"][name])


def _short(path: Path) -> str:
    """The path as it is best typed from here."""
    beside = os.path.relpath(path)
    return str(path) if beside.startswith("..") else beside


def _summary(results: list[dict[str, Any]], labels: int) -> str:
    told = [r for r in results if r["expected"] is not None]
    right = sum(r["predictions"][0]["label"] == r["expected"] for r in told)
    senses = ", ".join(sorted({r["modality"] for r in results}))
    return (
        f"{len(results)} files ({senses}), all in one frozen joint space, each named by one of the same {labels} "
        f"words. {right} of {len(told)} are named right."
    )


def _caveat(space: JointSpace) -> str:
    from clipx.cli._work import REAL_CLIP

    if not space.embedded:
        return "The space is a pretrained CLIP with an open vocabulary."
    known = "takes English nouns" if space.vocabulary is None else "knows a few hundred everyday words"
    return (
        f"The space is embedded in clipx: it is small and {known}. "
        f"For an open vocabulary take a real CLIP: clipx demo --space {REAL_CLIP}"
    )
