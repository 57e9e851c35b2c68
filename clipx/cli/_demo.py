"""What the demo's page shows: samples that are named by words, searches, and pictures that commands draw."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipx.cli._flags import read_toml
from clipx.errors import FileError, InputError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

    from clipx.cli._page import Found, Panel, Searches, Sheet
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


@dataclass(frozen=True)
class Plan:
    """What ``demo.toml`` and ``labels.txt`` of a folder say; see ``read_plan``."""

    folder: Path
    labels: list[str]
    samples: list[dict[str, Any]]
    sections: list[tuple[str, dict[str, Any]]]


@dataclass
class Demo:
    """The parts of a page, made one by one; whatever several parts need is made once.

    Args:
        plan: what is shown.
        out: the page's folder, which gets the pictures.
        space: the joint space.
        space_name: what the user calls it.
        device: where the commands that draw compute.
    """

    plan: Plan
    out: Path
    space: JointSpace
    space_name: str
    device: str
    files: dict[Path, bytes] = field(default_factory=dict)  # to be written, before the page
    _encoders: dict[str, Modality] = field(default_factory=dict)  # by modality and settings
    _classifiers: dict[str, ZeroShotClassifier] = field(default_factory=dict)  # by prompts
    _pictures: dict[str, bytes] = field(default_factory=dict)  # by file: a hit of several searches is drawn once
    _copied: set[Path] = field(default_factory=set)
    _indexes: dict[tuple[str, ...], Path] = field(default_factory=dict)  # by what they hold

    def panels(self) -> tuple[list[Panel], list[dict[str, Any]]]:
        """A panel, and a row of results, for each sample whose modality works here."""
        from clipx.progress import progress

        panels, results = [], []
        with progress("looking", len(self.plan.samples)) as advance:
            for entry in self.plan.samples:
                if self._works(entry["file"]):
                    panel, result = self._panel(entry)
                    panels.append(panel)
                    results.append(result)
                advance(1)
        return panels, results

    def sections(self) -> list[Sheet | Searches]:
        """The sections below the samples; those without a row are left out."""
        found: list[Sheet | Searches] = []
        for kind, entry in self.plan.sections:
            if kind == "search":
                found.append(self._searches(entry))
            elif kind == "sheet":
                found.append(self._sheet(entry))
            elif self.space.name in (entry["spaces"] or [self.space.name]):
                found.append(self._run(entry))
        return [part for part in found if part.rows]

    def _panel(self, entry: Mapping[str, Any]) -> tuple[Panel, dict[str, Any]]:
        from clipx.cli._page import Panel
        from clipx.cli._sound import player
        from clipx.cli._work import make_classifier
        from clipx.modality import pictures_of

        file, path, encoder = entry["file"], self._locate(entry["file"]), self._encoder(entry["file"])
        sample = encoder.load(path)
        prompts = entry.get("prompts", encoder.prompts)
        if prompts not in self._classifiers:
            self._classifiers[prompts] = make_classifier(self.space, self.plan.labels, prompts)
        predictions = self._classifiers[prompts].predict(encoder.encode([sample]), top_k=5)[0]
        views = pictures_of(encoder, sample)
        if file.startswith(SKIMAGE):
            picture = _thumbnail(path.read_bytes())
        else:
            picture = _png(_montage(views)) if views is not None else _png(_blank())
            self.files[self.out / f"{file.replace('/', '-')}.png"] = picture  # chair.off and chair.ply differ
        alt = entry["alt"] if views is None or len(views) == 1 else f"{entry['alt']}, from {len(views)} sides"
        words = ["classify", self._typed(file), "--labels", f"@{_short(self.plan.folder / 'labels.txt')}"]
        words += ["--prompts", entry["prompts"]] if "prompts" in entry else []
        settings = entry.get("settings", {})
        line = self._command(*words, *(text for name in settings for text in _flag(name, entry)))
        sound = player(path, None, None, path.name)
        result = {
            "path": path,
            "modality": encoder.name,
            "expected": entry.get("is"),
            "predictions": [asdict(p) for p in predictions],
            "command": line,
        }
        return Panel(path.name, entry["kind"], picture, alt, predictions, entry.get("is"), line, sound), result

    def _searches(self, entry: Mapping[str, Any]) -> Searches:
        from clipx.cli._page import Found, Searches
        from clipx.index import Index

        gallery = {str(self._locate(file).resolve()): file for file in entry["files"]}
        rows: list[Found] = []
        place = self._index(gallery)
        with Index.open(place, self.space) as index:
            for query in entry["queries"]:
                words = query.split(" ")
                named = [word for word in words if self._is_sample(word)]
                if not all(map(self._works, named)):
                    continue
                hits = index.search(" ".join(str(self._locate(w)) if w in named else w for w in words), k=HITS)
                shown = [(self._picture(gallery[hit.path]), Path(hit.path).name, hit.score) for hit in hits]
                line = self._command("search", " ".join(map(self._typed, words)), "--db", _short(place))
                asked = "".join(map(self._asked, named))
                rows.append(Found(query.replace(SKIMAGE, ""), asked, shown, line))
        return Searches(entry["title"], entry["note"], rows)

    def _run(self, entry: Mapping[str, Any]) -> Sheet:
        """Run a command of ours into the page's folder, and show pictures that it wrote."""
        from clipx.cli import main
        from clipx.progress import note

        begun = time.perf_counter()
        words = [*map(self._typed, entry["run"]), "-o", _short(self.out / entry["folder"])]
        note(self._command(*words))
        with contextlib.redirect_stdout(io.StringIO()):
            own = [] if "--space" in words else ["--space", self.space_name]
            status = main([*words, *own, "--device", self.device])
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise InputError(f"clipx {entry['run'][0]} ended with status {status}", where="clipx demo")

        def written(file: str) -> bytes:
            if file.startswith(SKIMAGE):
                return self._picture(file)
            own = (self.plan.folder / file).is_file()
            path = (self.plan.folder if own else self.out / entry["folder"]) / file
            if not path.is_file():
                raise FileError("was not written", where=path, remedy="correct the row in demo.toml")
            return _small(path)

        done = self._sheet({**entry, "command": self._command(*words)}, written)
        return replace(done, note=f"{done.note} Made in {time.perf_counter() - begun:.0f} s.")

    def _sheet(self, entry: Mapping[str, Any], picture_of: Callable[[str], bytes] | None = None) -> Sheet:
        from clipx.cli._page import Sheet

        look = picture_of or self._picture
        rows = [
            [(look(file), f"{alt}: {c}") for file, c in zip(files, entry["columns"], strict=True)]
            for alt, *files in entry["rows"]
        ]
        line = shlex.join(map(self._typed, shlex.split(entry["command"])))
        return Sheet(entry["title"], entry["note"], entry["columns"], rows, line)

    def _encoder(self, file: str) -> Modality:
        from clipx.api import make_modality
        from clipx.progress import note
        from clipx.registry import modality_of

        settings = {entry["file"]: entry.get("settings", {}) for entry in self.plan.samples}
        name, chosen = modality_of(self._locate(file)), settings.get(file, {})
        if (key := repr((name, chosen))) not in self._encoders:
            self._encoders[key] = make_modality(name, self.space, chosen)
            if why := self._encoders[key].unavailable():
                note(f"left out: {why}")
        return self._encoders[key]

    def _works(self, file: str) -> bool:
        return self._encoder(file).unavailable() is None

    def _picture(self, file: str) -> bytes:
        """The picture of a file that the space looks at."""
        if file not in self._pictures:
            self._pictures[file] = self._drawn(file)
        return self._pictures[file]

    def _drawn(self, file: str) -> bytes:
        from clipx.modality import pictures_of

        path = self._locate(file)
        if file.startswith(SKIMAGE):
            return _thumbnail(path.read_bytes())
        encoder = self._encoder(file)
        views = pictures_of(encoder, encoder.load(path))
        return _png(_blank() if views is None else _montage(views))

    def _asked(self, file: str) -> str:
        """A file of a query as HTML: a player, or a picture."""
        from clipx.cli._sound import player

        path = self._locate(file)
        return player(path, None, None, path.name) or _image(self._picture(file), path.name)

    def _index(self, gallery: Collection[str]) -> Path:
        """An index of these files in the page's folder, made once."""
        from clipx.index import Index

        if (known := tuple(gallery)) not in self._indexes:
            self._indexes[known] = place = self.out / f"search-{len(self._indexes) + 1}.index"
            shutil.rmtree(place, ignore_errors=True)  # of a demo before this one
            with Index.create(place, self.space) as index:
                index.add(gallery)
        return self._indexes[known]

    def _typed(self, word: str) -> str:
        """A word of a command as it is typed from here; a photo of scikit-image is copied, to have a short name."""
        from clipx.files import write_whole

        if not self._is_sample(word):
            return word
        path = self._locate(word)
        if word.startswith(SKIMAGE):
            if (copy := self.out / path.name) not in self._copied:
                write_whole(copy, path.read_bytes())
                self._copied.add(copy)
            path = copy
        return _short(path)

    def _command(self, *words: str) -> str:
        from clipx.spaces.loading import default_name

        own = self.space_name != default_name() and "--space" not in words
        return shlex.join(["clipx", *words, *(["--space", self.space_name] if own else [])])

    def _is_sample(self, word: str) -> bool:
        """Whether a word of a query or a command is a file of ``_locate``."""
        return word.startswith(SKIMAGE) or (self.plan.folder / word).is_file()

    def _locate(self, file: str) -> Path:
        """The file of a sample: in the folder, or a photo that comes with scikit-image."""
        if file.startswith(SKIMAGE):
            import skimage

            path = Path(skimage.__file__).parent / "data" / file.removeprefix(SKIMAGE)
        else:
            path = self.plan.folder / file
        if not path.is_file():
            raise FileError("no such file", where=path)
        return path


def clone_samples() -> Path:
    """The folder of samples in a clone. Raises FileError where clipx was installed without one."""
    import clipx

    folder = Path(clipx.__file__).parents[1] / "examples" / "data"
    if not (folder / "demo.toml").is_file():
        raise FileError(
            "this installation has no samples (they are in the clone, not in the wheel)",
            where="clipx demo",
            remedy="name the clone's examples/data with --samples",
        )
    return folder


def read_plan(folder: Path) -> Plan:
    """Read ``labels.txt`` and ``demo.toml``.

    The samples are [[sample]] tables of file, kind, alt and, where it applies, is, prompts and settings of the
    modality.

    The sections below the samples are, in this order, [[search]] with title, note, files (to search among) and queries;
    [[run]] with title, note, run (arguments of clipx), folder (where it writes), columns, rows and
    spaces (the only ones it is for; none: all), each row what it shows in words and then a written file, or one of the
    samples, a column; and [[sheet]], which shows files that are there. A file ``skimage:NAME`` is a photo that comes
    with scikit-image.

    Raises:
        FileError, InputError: missing, or not of this form.
    """
    from clipx.api import parse_labels

    plan = folder / "demo.toml"
    tables = read_toml(plan)
    wanted = tables.get("sample")
    if not isinstance(wanted, list) or not wanted:
        raise InputError("holds no [[sample]]", where=plan)
    for entry in wanted:
        missing = {"file", "kind", "alt"} - set(entry)
        unknown = set(entry) - {"file", "kind", "alt", "is", "prompts", "settings"}
        if missing or unknown:
            raise InputError(
                f"{'missing' if missing else 'unknown'} in a [[sample]]: {(missing or unknown).pop()!r}", where=plan
            )
    sections = [(kind, entry) for kind in SECTIONS for entry in tables.get(kind, [])]
    for kind, entry in sections:
        if set(entry) != set(SECTIONS[kind]):
            raise InputError(f"a [[{kind}]] has {', '.join(SECTIONS[kind])}", where=plan)
        if any(len(row) != 1 + len(entry["columns"]) for row in entry.get("rows", [])):
            raise InputError(f"a row of a [[{kind}]] is what it shows and then a file a column", where=plan)
    return Plan(folder, parse_labels(f"@{folder / 'labels.txt'}"), wanted, sections)


def summary(results: list[dict[str, Any]], labels: int) -> str:
    """One sentence on all samples."""
    expected = [r for r in results if r["expected"] is not None]
    right = sum(r["predictions"][0]["label"] == r["expected"] for r in expected)
    modalities = ", ".join(sorted({r["modality"] for r in results}))
    return (
        f"{len(results)} files ({modalities}), all in one frozen joint space, each named by one of the same {labels} "
        f"words. {right} of {len(expected)} are named right."
    )


def caveat(space: JointSpace) -> str:
    """What the space knows."""
    from clipx.cli._work import REAL_CLIP

    if space.folder is None:
        return "The space is a pretrained CLIP with an open vocabulary."
    known = "takes English nouns" if space.vocabulary is None else "knows a few hundred everyday words"
    return (
        f"The space is embedded in clipx: it is small and {known}. "
        f"For an open vocabulary take a real CLIP: clipx demo --space {REAL_CLIP}"
    )


def _montage(views: np.ndarray) -> np.ndarray:
    """(V, 3, H, W) -> (3, R * H, C * W): the views as near to a square as full rows allow, a seam between them."""
    import numpy as np

    if len(views) == 1:
        return views[0]
    columns = next(c for c in range(math.isqrt(len(views) - 1) + 1, len(views) + 1) if len(views) % c == 0)
    framed = np.pad(views, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.25)
    _, _, height, width = framed.shape
    rows = framed.reshape(-1, columns, 3, height, width).transpose(2, 0, 3, 1, 4)  # (3, R, H, C, W)
    return rows.reshape(3, -1, columns * width)


def _blank() -> np.ndarray:
    """What stands in the place of a picture."""
    import numpy as np

    return np.full((3, 90, 160), 0.5)


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    return _compressed(Image.fromarray((picture.clip(0, 1) * 255).round().astype("uint8").transpose(1, 2, 0)), "PNG")


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
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
