"""Walks folders, on disk or at URLs, for files that a modality reads."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from clipx.errors import ClipxError, FileError, InputError
from clipx.index.meta import NAME as META
from clipx.index.meta import is_index
from clipx.index.remote import START, About, canonical, fetch, file_name, is_url, list_folder, look_up
from clipx.modality import looks_into_files
from clipx.registry import get_modality, is_shared, modality_of, track_readers

REQUESTS = 16  # for listings, at a time
_NOT_UTF8 = "its name is not UTF-8"
_OUTPUTS = {".json", ".html", ".parquet", ".safetensors", ".part"}  # what clipx writes next to a user's files
_TABLE = "labels.csv"


@dataclass(frozen=True)
class Found:
    """A file as the walk found it.

    Args:
        path: absolute, or a URL.
        size: bytes.
        mtime_ns: when its content last changed.
        modality: what reads it.
    """

    path: str
    size: int
    mtime_ns: int
    modality: str


@dataclass(frozen=True)
class Failure:
    """A file or folder that could not be taken in, and why, in one line.

    Args:
        path: which.
        reason: why not.
        read: whether its bytes could be read, so that the fault is in them: it is not tried again until it changes.
        known: whether this was found in an earlier run, and the file has not changed since.
    """

    path: str
    reason: str
    read: bool = False
    known: bool = False


@dataclass
class Walk:
    """What a walk found.

    Args:
        roots: where it began.
        reader: path -> the modality that it took the path to be of; None for a file that it skipped.
        owner: suffix -> the modality that reads it; None where none does.
        files, failures: what it found.
        unlisted: folders, and files, of which nothing is known because of a failure.
        others: URLs of files that were listed and that ``reader`` skipped.
        skipped: suffix -> how many files in folders have it though no modality reads it; "" for those without one.
            Hidden files and what clipx writes itself do not count.
    """

    roots: list[str]
    reader: Callable[[str], str | None] = lambda path: None
    owner: Callable[[str], str | None] = lambda suffix: None
    files: list[Found] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)

    def errors(self) -> dict[str, ClipxError]:
        """path -> why it could not be taken in, for commands that name such files at their end."""
        return {failure.path: FileError(failure.reason, where=failure.path) for failure in self.failures}

    def gone(self, paths: Iterable[str]) -> list[str]:
        """The ``paths`` under the roots that the walk did not find, except where it could not look."""
        found = {file.path for file in self.files}

        def is_skipped(path: str) -> bool:  # such as one that was named with a modality that its suffix does not say
            there = path in self.others if is_url(path) else os.path.isfile(path)
            return there and self.reader(path) is None

        gone = [p for p in paths if p not in found and is_under(p, self.roots) and not is_under(p, self.unlisted)]
        return [path for path in gone if not is_skipped(path)]


def find_files(paths: Iterable[str | os.PathLike[str]], modality: str | None = None, tracks: bool = False) -> Walk:
    """Files in folders, at any depth, whose suffix a modality owns and which it claims; named files in any case.

    Symbolic links to folders are followed, after all else; a folder is entered once, whatever the ways to it, so that a
    loop ends. Names that begin with a dot are skipped, and so are indexes. What cannot be listed is a failure, and the
    walk goes on.

    Args:
        paths: folders and files, and URLs of them, see ``clipx.index.remote``.
        modality: take what this one reads, and nothing else.
        tracks: with a modality, files of which it reads a track as well, such as films for their sound.

    Raises:
        FileError: one of ``paths`` does not exist, or is a pipe or a device.
        InputError: the one file that is named has an unknown suffix; one of several is a failure. Or a URL holds a
            password.
        MissingDependencyError: fsspec needs another package for a URL.
    """
    paths, owner = list(paths), lru_cache(maxsize=None)(_owner)
    walk = Walk([], _reader(modality, owner, tracks), owner)
    entered: set[tuple[int, int]] = set()
    for path in paths:
        root = absolute(path)
        if is_url(root):
            about = look_up(root)
            walk.roots.append(root)
            if about.folder:
                _enter_url(root, walk)
            else:
                _take_named(root, about.size or 0, about.mtime_ns, walk, modality, len(paths) == 1)
            continue
        try:
            status = os.stat(root)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            what = "no such file or folder" if missing else f"cannot be read ({error.strerror})"
            raise FileError(what, where=str(path)) from error
        except ValueError as error:
            raise FileError(f"no such file or folder ({error})", where=repr(path)) from error
        walk.roots.append(root)
        if stat.S_ISDIR(status.st_mode):
            _enter(root, walk, entered)
        elif not stat.S_ISREG(status.st_mode):  # reading a pipe might never end
            raise FileError("is not a regular file", where=str(path))
        elif not is_utf8(root):
            _failed(walk, root, _NOT_UTF8)
        else:
            _take_named(root, status.st_size, status.st_mtime_ns, walk, modality, len(paths) == 1)
    walk.files = list({file.path: file for file in walk.files}.values())
    return walk


def _take_named(path: str, size: int, mtime_ns: int, walk: Walk, modality: str | None, alone: bool) -> None:
    """Take a file that was named; one that no modality reads is a failure, or an error where it is the only one."""
    try:
        walk.files.append(Found(path, size, mtime_ns, modality or modality_of(name_of(path))))
    except InputError as error:
        if alone:
            raise InputError(error.what, where=path, remedy=error.remedy) from error
        _failed(walk, path, error.what)


def _enter(root: str, walk: Walk, entered: set[tuple[int, int]]) -> None:
    folders, links = [root], deque[str]()  # links last: what has a path of its own is found by that
    while folders or links:
        folder = folders.pop() if folders else links.popleft()
        try:
            here = _identity(os.stat(folder))
            if here in entered:
                continue
            entered.add(here)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            if any(entry.name == META for entry in entries) and is_index(Path(folder)):
                continue
        except OSError as error:
            _failed(walk, folder, f"cannot be listed ({error.strerror})")
            continue
        deeper: list[str] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    (links if entry.is_symlink() else deeper).append(entry.path)
                elif (owner := walk.reader(entry.path)) is None:
                    if entry.is_file():
                        _skip(walk, entry.name)
                else:
                    about = entry.stat()
                    if not is_utf8(entry.path):
                        _failed(walk, entry.path, _NOT_UTF8)
                    elif not stat.S_ISREG(about.st_mode):  # reading a pipe might never end
                        walk.failures.append(Failure(entry.path, "is not a regular file"))
                    elif get_modality(owner).claims(entry.path):
                        walk.files.append(Found(entry.path, about.st_size, about.st_mtime_ns, owner))
            except ClipxError as error:  # two modalities claim the suffix
                _failed(walk, entry.path, error.what)
            except OSError as error:  # a dangling link, or one that leads to itself
                if entry.is_symlink() and not os.path.lexists(entry.path):
                    continue
                _failed(walk, entry.path, f"cannot be read ({error.strerror})")
        folders += reversed(deeper)


def _enter_url(root: str, walk: Walk) -> None:
    """As ``_enter``, below a URL: requests of one depth are made several at a time."""
    folders, entered = [root], set[str]()
    with ThreadPoolExecutor(REQUESTS, "clipx-list") as pool:
        while folders:
            entered.update(folders)
            deeper: list[str] = []
            wanted: list[tuple[About, str]] = []
            for folder, listing in zip(folders, pool.map(_list, folders), strict=True):
                if isinstance(listing, ClipxError):
                    _failed(walk, folder, f"cannot be listed: {listing.what}")
                    continue
                for one in listing:
                    if any(part.startswith(".") for part in one.url[len(folder) :].split("/")):
                        continue
                    if one.folder:
                        deeper.append(one.url)
                        continue
                    try:
                        owner = walk.reader(one.url)
                    except ClipxError as error:  # two modalities claim the suffix
                        _failed(walk, one.url, error.what)
                        continue
                    if owner is None:
                        walk.others.add(one.url)
                        _skip(walk, file_name(one.url))
                    else:
                        wanted.append((one, owner))
            for found in pool.map(_take_listed, wanted):
                if isinstance(found, Failure):
                    _failed(walk, found.path, found.reason)
                elif found is not None:
                    walk.files.append(found)
            folders = sorted(set(deeper) - entered)


def _list(folder: str) -> list[About] | ClipxError:
    """What is in a folder at a URL: nothing if it is an index."""
    try:
        listing = list_folder(folder)
        for one in listing:
            if file_name(one.url) == META:
                record = fetch(one.url)
                if is_index(record.path.parent):
                    return []
        return listing
    except ClipxError as error:
        return error


def _take_listed(wanted: tuple[About, str]) -> Found | Failure | None:
    """A listed file and the modality of its suffix -> the file, or None where none claims it; see ``modality_of``."""
    about, owner = wanted
    cls = get_modality(owner)
    try:
        if not is_utf8(about.url):
            return Failure(about.url, _NOT_UTF8)
        if about.size is None:  # as on the web
            about = look_up(about.url)
        if looks_into_files(cls):
            start = fetch(about.url, START)
            if not cls.claims(start.path):
                readers = track_readers(suffix_of(about.url))
                if not readers or owner in readers:
                    return None
                owner = readers[0]
    except ClipxError as error:
        return Failure(about.url, error.what)
    return Found(about.url, about.size or 0, about.mtime_ns, owner)


def _skip(walk: Walk, name: str) -> None:
    """Count a file of this name that the walk's modalities do not read."""
    suffix = suffix_of(name)
    if walk.owner(suffix) is None and not (suffix in _OUTPUTS or name == _TABLE):
        walk.skipped[suffix.encode(errors="replace").decode()] += 1


def is_under(path: str, tops: Iterable[str]) -> bool:
    """Whether a path is one of ``tops``, or lies in one of them."""
    return any(path == top or path.startswith(inside(top)) for top in tops)


def inside(top: str) -> str:
    """What the paths of all that lies in a folder begin with."""
    separator = "/" if is_url(top) else os.sep
    return top.rstrip(separator) + separator


def _failed(walk: Walk, path: str, reason: str) -> None:
    printable = path.encode(errors="replace").decode()
    walk.failures.append(Failure(printable, reason))
    walk.unlisted.append(path)


def is_utf8(path: str) -> bool:
    """Whether a path has a name in UTF-8, and so no surrogates."""
    return path.isascii() or not any("\ud800" <= c <= "\udfff" for c in path)


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _reader(modality: str | None, owner: Callable[[str], str | None], tracks: bool) -> Callable[[str], str | None]:
    """path -> the modality that reads it, or None."""
    if modality is None:

        def reader(path: str) -> str | None:
            suffix = suffix_of(path)
            return modality_of(path) if is_shared(suffix) and not is_url(path) else owner(suffix)

        return reader
    cls = get_modality(modality)
    if not cls.suffixes:  # it takes files of any suffix, but for the table that says what they are
        return lambda path: None if os.path.basename(name_of(path)) == _TABLE else modality
    chosen = (*cls.suffixes, *(getattr(cls, "tracks_of", ()) if tracks else ()))
    return lambda path: modality if suffix_of(path) in chosen else None


def suffix_of(path: str) -> str:
    """The suffix of a path or of a URL, lower case, with the dot; "" for none."""
    return os.path.splitext(name_of(path))[1].lower()


def name_of(path: str) -> str:
    """What says of which suffix a file is: its path, or the name at the end of its URL."""
    return file_name(path) if is_url(path) else path


def _owner(suffix: str) -> str | None:
    try:
        return modality_of(f"file{suffix}")
    except InputError:
        return None


def listed(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str | os.PathLike[str]]:
    """One path or several -> a list."""
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def absolute(path: str | os.PathLike[str]) -> str:
    """A path as the walk names it: absolute, with links as they are; a URL in one spelling.

    Raises:
        InputError: a URL holds a password, see ``clipx.index.remote.canonical``.
    """
    named = canonical(os.fspath(path)) if is_url(path) else path
    return named if isinstance(named, str) and is_url(named) else os.path.abspath(Path(named).expanduser())
