"""Files at URLs, by fsspec: how they are called, how folders are listed, and how a file is fetched to be read.

A file's URL is its path in the index. Passwords and keys never are: fsspec's drivers take them from the environment or
from ``~/.config/fsspec``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from clipx.errors import ClipxError, FileError, InputError, MissingDependencyError, first_line
from clipx.pipeline import FileItem, Item

if TYPE_CHECKING:
    from clipx.modality import Modality

MAX_BYTES = 2**30  # of a file that is fetched: as much as the largest limit of a reader of local files
CHUNK = 2**22
START = 2**16  # bytes that ``Modality.claims`` looks at
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "local": "file"}
_USERS = {"http", "https", "ftp"}  # schemes whose URLs hold an @ before the first slash only for a user or a token
_USER = re.compile(r"[^/?#@]*@")
_PASSWORD = re.compile(r"[^/@:]*:(?!\d+(?:[/?#]|$))[^@]*@")  # user:password@, which may hold a slash; not host:port/
_DIGITS = re.compile(r"[^/@:]*:\d+/[^/@]*@[^/]+/")  # a password such as 123/x before a host and a path
_PARAMETER = re.compile(r"[?&;#]([^=?&;#/]*)=")
_SECRET = re.compile("token|key|sig|auth|secret|jwt|credential|password", re.I)
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "Last-Modified", "modificationTime")
_MARKS = ("ETag", "etag", "Content-MD5", "md5Hash", "checksum", "sha")
_LARGEST = 2**63  # of an integer in the index
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class About:
    """What a listing says of a file or a folder.

    Args:
        url: of it, as the index records it.
        folder: whether it is one.
        size: bytes; None where that is unknown.
        mtime_ns: when its content last changed, in nanoseconds since the epoch; a hash of its tag (ETag) where no time
            is known; 0 where that is not either.
    """

    url: str
    folder: bool
    size: int | None
    mtime_ns: int


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether this is a URL, such as ``s3://bucket/photos``."""
    return _URL.match(os.fspath(path)) is not None


def canonical(url: str) -> str:
    """A URL as the index records it, or the path of a local file for ``file://``.

    What may be a secret is refused, such as any parameter with "key" in its name; after a port, the @ of
    ``http://host:80/a@b/c`` has to be written %40, since this may as well be a password.

    Raises:
        InputError: it holds a password, a token or a signature, or is a chain of URLs.
    """
    scheme, _, rest = url.partition("://")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if _holds_secret(scheme, rest):
        raise InputError(
            "a URL of an index must not hold a password, a key or a signature",
            where=f"{scheme}://...",
            remedy="leave it out; fsspec takes it from the environment or from ~/.config/fsspec",
        )
    if "::" in rest:
        where = f"{scheme}://..."  # the URL in it may hold a password
        raise InputError("a chain of URLs is not read", where=where, remedy="copy or unpack the files first")
    if scheme == "file":
        from fsspec.core import url_to_fs

        return str(url_to_fs(f"file://{rest}")[1])
    rest = rest.strip("/") if scheme == "memory" else rest.rstrip("/")
    return f"{scheme}://{rest}"


def _holds_secret(scheme: str, rest: str) -> bool:
    """Whether what follows ``scheme://`` names a user, a password, a token or a signature."""
    if (scheme in _USERS and _USER.match(rest)) or _DIGITS.match(rest):
        return True
    return any(
        _PASSWORD.match(text) or any(map(_SECRET.search, _PARAMETER.findall(text))) for text in (rest, unquote(rest))
    )


def file_name(url: str) -> str:
    """The last part of a URL; without a query such as ``?v=1`` on the web."""
    rest = url.partition("://")[2]
    if url.startswith("http"):
        rest = re.split("[?#]", rest, maxsplit=1)[0]
    return rest.rpartition("/")[2]


def look_up(url: str) -> About:
    """What is known of a file or a folder.

    Raises:
        FileError: it is not there, or cannot be read.
        MissingDependencyError: fsspec needs another package for such URLs.
        InputError: fsspec knows no such URLs.
    """
    with _reaching(url):
        fs, path = _file_system(url)
        fs.invalidate_cache()
        return _about(url, fs.info(path))


def list_folder(url: str) -> list[About]:
    """The files and folders in a folder, sorted; where a web page stands for it, what the page links to below it.

    Links that hold a token or a signature are passed over.

    Raises:
        FileError: it cannot be listed.
    """
    with _reaching(url):
        fs, path = _file_system(url)
        top = path.strip("/")
        found = {}
        for info in fs.ls(path, detail=True):
            name = info["name"].strip("/")
            rest = name.removeprefix(f"{top}/" if top else "")
            if name == top or (top and rest == name) or rest.startswith("?"):  # itself, elsewhere, sorted otherwise
                continue
            child = f"{url.rstrip('/') if not url.endswith('://') else url[:-1]}/{rest}"
            if url.startswith("http") and _holds_secret("https", child.partition("://")[2]):
                continue
            found[child] = _about(child, info)
        return [found[child] for child in sorted(found)]


@dataclass(frozen=True, eq=False)
class FetchedItem(FileItem):
    """What was fetched from a URL, which is its ``id``, in a temporary folder that goes with this object.

    Args:
        folder: the temporary folder, which was made for this object alone.

    Attributes:
        delete: removes the folder; called where anything fails, as an exception may keep this object for long.
    """

    folder: Path = field(kw_only=True)
    delete: Callable[[], Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "delete", weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True))

    def load(self, modality: Modality) -> Any:
        """Its sample; errors name the URL. Raises ClipxError."""
        try:
            with self.deleted_on_error():
                return super().load(modality)
        except ClipxError as error:
            folder, shown = str(self.folder), []
            if folder not in str(error):
                raise
            for text in (error.what, error.where or "", error.remedy or ""):
                shown.append(text.replace(str(self.path), self.id).replace(folder, self.id.rpartition("/")[0]))
            what, where, remedy = shown
            raise type(error)(what, where=where or None, remedy=remedy or None) from error.__cause__

    @contextmanager
    def deleted_on_error(self) -> Iterator[None]:
        """Delete the file where something is raised."""
        try:
            yield
        except BaseException:
            self.delete()
            raise


@dataclass(frozen=True, eq=False)
class RemoteItem(Item):
    """A file at a URL, which is its ``id``."""

    def fetched(self) -> FetchedItem:
        return fetch(self.id)

    def load(self, modality: Modality) -> Any:
        return self.fetched().load(modality)

    def content(self) -> bytes:
        here = self.fetched()
        return here.path.read_bytes()


def fetch(url: str, most: int | None = None) -> FetchedItem:
    """A file's bytes, in a temporary file of the same suffix.

    Args:
        url: of the file.
        most: fetch no more than so many bytes from its beginning.

    Raises:
        FileError: it is not there, cannot be read, or is larger than ``MAX_BYTES``.
    """
    name = re.sub(r"[^\w.-]", "_", file_name(url), flags=re.ASCII)[-100:]
    if name in ("", ".", ".."):  # which name no file in a folder
        name = "file"
    with _reaching(url):
        folder = Path(tempfile.mkdtemp(prefix="clipx-"))
        here = FetchedItem(url, folder / name, folder=folder)
        with here.deleted_on_error():
            _copy(url, here.path, most)
    return here


def item_of(path: str) -> Item:
    """A file of an index, by its path or URL, as an item to read."""
    return RemoteItem(path) if is_url(path) else FileItem(path, Path(path))


def changed_ns(info: Mapping[str, Any]) -> int:
    """When a file changed, from what a file system says of it; see ``About.mtime_ns``."""
    for name in (*_TIMES, "created"):  # an object of a store is not changed but made again
        if (ns := _as_ns(info.get(name))) is not None:
            return ns
    for name in _MARKS:
        if isinstance(mark := info.get(name), str) and mark:
            return int(hashlib.sha256(mark.encode(errors="replace")).hexdigest()[:15], 16)
    return 0


def _as_ns(value: Any) -> int | None:
    """A time as file systems give it: seconds or milliseconds since the epoch, a datetime, or a text."""
    try:
        if isinstance(value, str):
            from email.utils import parsedate_to_datetime

            value = datetime.fromisoformat(value) if value[:4].isdigit() else parsedate_to_datetime(value)
        if isinstance(value, datetime):
            aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            ns = (aware - _EPOCH) // timedelta(microseconds=1) * 1000
        elif isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) > 1e11 else value
            ns = round(seconds * 1e6) * 1000  # whole microseconds, which a float holds
        else:
            return None
    except (ValueError, OverflowError, TypeError):
        return None
    return ns if abs(ns) < _LARGEST else None


def _about(url: str, info: Mapping[str, Any]) -> About:
    size = info.get("size")
    known = size if isinstance(size, int) and 0 <= size < _LARGEST else None
    folder = info.get("type") == "directory" or info.get("mimetype") == "text/html"  # a page that lists files
    return About(url, folder, known, changed_ns(info))


def _copy(url: str, file: Path, most: int | None) -> None:
    fs, path = _file_system(url)
    if most is not None:
        file.write_bytes(fs.cat_file(path, start=0, end=most))
        return
    with fs.open(path, "rb") as source, file.open("wb") as target:
        size, copied = getattr(source, "size", None) or 0, 0
        while size <= MAX_BYTES and (chunk := source.read(CHUNK)):
            copied += len(chunk)
            size = max(size, copied)
            target.write(chunk)
    if size > MAX_BYTES:
        raise FileError(f"holds {size:,} bytes or more, over the limit of {MAX_BYTES:,}", where=url)


def _file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, of which it keeps one, and the path in it."""
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0]
    try:
        return url_to_fs(url)
    except ImportError as error:  # the driver's package, which fsspec names
        raise MissingDependencyError(f"{scheme}:// needs another package", where=url, remedy=str(error)) from error
    except ValueError as error:
        raise InputError(first_line(error), where=url, remedy="name a folder, or a URL that fsspec reads") from error


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Turns whatever a driver raises into a FileError, whose cause is a system error: it may go away."""
    try:
        yield
    except (ClipxError, MemoryError):
        raise
    except FileNotFoundError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise FileError(f"cannot be read ({first_line(error.__cause__)})", where=url) from error.__cause__
        reason = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        raise FileError("no such file or folder", where=url) from (error if error.errno else reason)
    except Exception as error:
        text = getattr(error, "strerror", None) or first_line(error)
        reason = OSError(getattr(error, "errno", None) or errno.EIO, text)
        raise FileError(f"cannot be read ({text})", where=url) from reason


def is_missing(path: str) -> bool:
    """Whether a local file is no longer there; of a URL that is not asked: it may take long, or cost money."""
    return not (is_url(path) or os.path.exists(path))
