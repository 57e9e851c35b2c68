"""Files that the page sends: typed by their content, few, and deleted."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.pictures import HEIF_BRANDS
from clipx.serve.security import Refused

MOST = 16  # that are kept; the oldest is deleted
HEAD_BYTES = 4096  # that decide what a file is

# What a file begins with -> the suffixes of such files; one that its name does not have is given the first of them.
_STARTS: tuple[tuple[int, bytes, tuple[str, ...]], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", (".png",)),
    (0, b"\xff\xd8\xff", (".jpg", ".jpeg")),
    (0, b"GIF8", (".gif",)),
    (0, b"BM", (".bmp",)),
    (0, b"II*\0", (".tif", ".tiff")),
    (0, b"MM\0*", (".tif", ".tiff")),
    (0, b"II+\0", (".tif", ".tiff")),
    (0, b"MM\0+", (".tif", ".tiff")),
    (8, b"WEBP", (".webp",)),
    (4, b"ftypavif", (".avif",)),
    (4, b"ftypavis", (".avif",)),
    *((4, b"ftyp" + brand, (".heic", ".heif")) for brand in sorted(HEIF_BRANDS)),
    *((4, b"ftypM4" + brand, (".m4a", ".m4b")) for brand in (b"A ", b"B ")),
    (4, b"ftyp3g", (".3gp", ".3g2", ".mp4", ".m4a")),
    (4, b"ftyp", (".mp4", ".mov", ".m4v", ".m4a", ".m4b")),
    (0, b"\x1aE\xdf\xa3", (".mkv", ".webm", ".mka")),
    (0, b"0&\xb2u\x8ef\xcf\x11", (".wmv", ".wma")),
    *((0, b"\0\0\1" + code, (".mpg", ".mpeg")) for code in (b"\xba", b"\xb3")),
    (0, b"FLV", (".flv",)),
    (0, b"#!AMR", (".amr",)),
    *((0, bytes((0xFF, mark)), (".aac",)) for mark in (0xF0, 0xF1, 0xF8, 0xF9)),
    (0, b"\x0b\x77", (".ac3",)),
    (0, b"wvpk", (".wv",)),
    (0, b"MAC ", (".ape",)),
    (8, b"AVI ", (".avi",)),
    (0, b"\0\0\0\x0cjP  ", (".jp2",)),
    (8, b"WAVE", (".wav",)),
    (0, b"fLaC", (".flac",)),
    (0, b"OggS", (".ogg", ".oga", ".opus")),
    (0, b"ID3", (".mp3", ".aac")),
    *((0, bytes((0xFF, mark)), (".mp3",)) for mark in (0xFA, 0xFB, 0xF2, 0xF3, 0xE2, 0xE3)),
    (8, b"AIFF", (".aiff", ".aif")),
    (8, b"AIFC", (".aifc", ".aiff")),
    (0, b"caff", (".caf",)),
    (0, b".snd", (".au",)),
    (0, b"glTF", (".glb",)),
    (0, b"ply\n", (".ply",)),
    (0, b"ply\r", (".ply",)),
    (0, b"OFF", (".off",)),
    (0, b"COFF", (".off",)),
    (0, b"# .PCD", (".pcd",)),
    (0, b"LASF", (".las", ".laz")),
    (0, b"Kaydara FBX Binary", (".fbx",)),
    (0, b"\x93NUMPY", (".npy",)),
    (0, b"PK\x03\x04", (".npz",)),
)
_NEVER = (
    b"\x7fELF",
    b"MZ",
    b"%PDF",
    b"#!",
    b"\xca\xfe\xba\xbe",
    b"\xcf\xfa\xed\xfe",
    b"Rar!",
    b"7z\xbc\xaf",
    b"\x1f\x8b",
)
_STREAMS = (".mts", ".m2ts", ".mpg", ".mpeg")  # of MPEG packets of 188 bytes, each after a time of 4 in the first two
_OF_CONTENT = {suffix for _, _, suffixes in _STARTS for suffix in suffixes} | {*_STREAMS}


@dataclass(frozen=True)
class Upload:
    """A file that the page sent, and what the space makes of it.

    Args:
        path: where it lies until it is deleted.
        name: as the page called it.
        modality: what reads it.
        embedding: its vector.
        thumbnail: a JPEG, where there is something to see.
    """

    path: Path
    name: str
    modality: str
    embedding: Embedding
    thumbnail: bytes | None


class Uploads:
    """A few uploads.

    Attributes:
        folder: where they lie.
        close: deletes everything; called at the latest when this object goes.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="clipx-serve-"))
        self.close = weakref.finalize(
            self, shutil.rmtree, self.folder, ignore_errors=True
        )  # also where nobody calls it
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def new_path(self) -> Path:
        """A path for a file that is being received."""
        return self.folder / secrets.token_urlsafe(18)

    def keep(self, upload: Upload) -> str:
        """Keep an upload under a new name; the oldest goes where there are too many."""
        name = f"u.{secrets.token_urlsafe(18)}"
        with self._lock:
            self._kept[name] = upload
            gone = [self._kept.popitem(last=False)[1] for _ in range(len(self._kept) - MOST)]
        for one in gone:
            one.path.unlink(missing_ok=True)
        return name

    def get(self, name: str) -> Upload | None:
        """The upload of that name. Raises Refused where one was deleted; None where it is no upload's name."""
        if not name.startswith("u."):
            return None
        with self._lock:
            if (found := self._kept.get(name)) is None:
                raise Refused(404, "this file was deleted: drop it again")
            return found

    def delete(self, name: str) -> None:
        """Delete an upload; nothing happens where it is gone already."""
        with self._lock:
            found = self._kept.pop(name, None)
        if found is not None:
            found.path.unlink(missing_ok=True)


def suffix_by_content(head: bytes, name: str) -> str:
    """The suffix of a file by what it begins with; its name decides only between kinds that begin alike.

    Args:
        head: its first bytes.
        name: as the page called it.

    Raises:
        InputError: what no modality reads.
    """
    from clipx.registry import modality_of

    named = Path(name.replace("\\", "/")).suffix.lower()
    if not head:
        raise InputError("the file is empty", where=shown(name))
    beginning = (suffixes for at, start, suffixes in _STARTS if head[at:].startswith(start))
    if (suffixes := next(beginning, _STREAMS if _is_stream(head) else ())) != ():
        suffix = named if named in suffixes else suffixes[0]
    else:
        suffix = _by_text(head, named)
        if head.startswith(_NEVER) or (suffix in _OF_CONTENT and b"\0" in head):  # the latter is no text either
            raise InputError(f"its content is not that of a {named or 'known'} file", where=shown(name))
    try:
        modality_of(f"x{suffix}")
    except InputError as error:
        remedy = "drop a picture, a drawing, a sound, a film, a cloud or a mesh"
        raise InputError("no modality reads such a file", where=shown(name), remedy=remedy) from error
    return suffix


def shown(name: str) -> str:
    """A file's name as it may stand in a message."""
    plain = "".join(c if c.isprintable() else " " for c in name.replace("\\", "/").rpartition("/")[2]).strip()
    return plain[:120] or "unnamed"


def _is_stream(head: bytes) -> bool:
    """Whether it is an MPEG transport stream: every packet begins with "G"."""
    return any(len(head) > 3 * step and set(head[at::step]) == {ord("G")} for at, step in ((0, 188), (4, 192)))


def _by_text(head: bytes, named: str) -> str:
    """The suffix of a file that begins as none of ``_STARTS``."""
    text = head.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n").lower()
    if text.startswith("<svg") or (text.startswith(("<?xml", "<!--", "<!doctype svg")) and "<svg" in text):
        return ".svg"
    if text.startswith("{") and '"drawing"' in text:
        return ".ndjson"
    if text.startswith(("<!doctype html", "<html")):
        return ".html"
    return named
