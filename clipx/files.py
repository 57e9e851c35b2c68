"""Files: read into memory, or written atomically; what goes wrong becomes one line."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import math
import os
import re
import secrets
import stat
import threading
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np

from clipx.errors import FileError, InputError, SpaceMismatchError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
MODEL_SUFFIX = ".safetensors"
MAX_BYTES = 256 * 2**20
MAX_KEPT_BYTES = 64 * 2**20  # of a file that is hashed and then read
_own = threading.local()
_lock = threading.Lock()
_inside, _filters = 0, warnings.catch_warnings()  # threads in ignore_library_warnings, and what they share


@contextmanager
def ignore_library_warnings() -> Iterator[None]:
    """Leave out warnings of Pillow and torch while they decode: pixels, tensors or an error, nothing in between.

    Python's filters are the process's own, so the first of several threads sets them and the last one restores them;
    had each a ``catch_warnings`` of its own, they would restore each other's, and warnings of clipx could be lost.
    """
    global _inside, _filters
    with _lock:
        if not _inside:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"(PIL|torch)\.")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _filters.__exit__(None, None, None)


def read_bytes(path: str | PathLike, suffixes: Sequence[str] | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular, non-empty file of a bearable size, and of a known suffix where ``suffixes`` are given.

    Raises:
        FileError: missing, a folder or device, unreadable, empty, larger than ``max_bytes``, or of another suffix.
    """
    path = Path(path)
    with reading(path):
        kept: dict[str, bytes] = getattr(_own, "kept", None) or {}
        data = kept.get(os.fspath(path))
        about = path.stat() if data is None else None
        if suffixes is not None and path.suffix.lower() not in suffixes:
            raise FileError(f"suffix {path.suffix!r} is not one of {' '.join(suffixes)}", where=path)
        if about is not None:
            require_regular(path, about)
        size = about.st_size if about is not None else len(data or b"")
        if size > max_bytes:
            raise FileError(f"holds {size:,} bytes, more than the limit of {max_bytes:,}", where=path)
        if data is None:
            with path.open("rb") as file:
                data = file.read(size)
    if not data:
        raise FileError("is empty (0 bytes)", where=path)
    return data


@contextmanager
def read_once() -> Iterator[None]:
    """Within it ``read_bytes`` gives what ``sha256_of`` has hashed in this thread.

    So the file is read once, and what is made of it is of the content that has this hash, whatever is written to the
    file meanwhile. A file of more than 64 MB is hashed in pieces, and read again.
    """
    _own.kept = {}
    try:
        yield
    finally:
        _own.kept = None


def sha256_of(content: str | PathLike | bytes) -> str:
    """The hash of a file, or of bytes. Raises FileError."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    kept = getattr(_own, "kept", None)
    try:
        with open(content, "rb", buffering=0) as file:
            about = os.fstat(file.fileno())
            if kept is not None and stat.S_ISREG(about.st_mode) and about.st_size <= MAX_KEPT_BYTES:
                kept[os.fspath(content)] = data = file.readall()
                return hashlib.sha256(data).hexdigest()
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", where=content) from error


def read_text(path: str | PathLike, max_bytes: int = MAX_BYTES) -> str:
    """A text file in UTF-8, or in UTF-16 where it begins with a byte order mark; without that mark.

    Raises:
        FileError: as ``read_bytes``, or the file is no such text.
    """
    data = read_bytes(path, max_bytes=max_bytes)
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not utf16 and b"\0" in data:
        wide = 4 * data.count(0) > len(data)  # half of its bytes, in languages written in Latin letters
        what = "is UTF-16 without a byte order mark" if wide else "is no text: it holds zero bytes"
        raise FileError(what, where=path, remedy="save it as UTF-8")
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not {'UTF-16' if utf16 else 'UTF-8'} text (byte {error.start})"
        raise FileError(what, where=path, remedy="save it as UTF-8") from error


def read_table(path: str | PathLike) -> list[dict[str, str]]:
    """The rows of a table with a header line, as programs write CSV: the header decides among ``,``, ``;`` and tab.

    Names of columns are in lower case, and blanks around names and cells are dropped, as are empty lines, empty columns
    at the end and Excel's ``sep=`` line.

    Raises:
        FileError: as ``read_text``; quotes that do not match; a name that two columns have; a row of more or fewer
            cells than the header.
    """
    text = read_text(path)
    head, _, rest = text.lstrip().partition("\n")
    if separator := re.fullmatch(r"sep=(.)\s*", head, re.IGNORECASE):
        text, head = rest, rest.lstrip().partition("\n")[0]
    delimiter = separator[1] if separator else max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            while cells and not cells[-1] and rows and len(cells) > len(rows[0][1]):
                cells.pop()
            if any(cells):
                rows.append((reader.line_num, cells))
            if len(rows) == 1:
                while not rows[0][1][-1]:
                    rows[0][1].pop()
    except csv.Error as error:
        raise FileError(f"cannot be read as CSV (line {reader.line_num}: {error})", where=path) from error
    if not rows:
        return []
    names = [name.casefold() for name in rows[0][1]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FileError(f"two columns are named {twice[0]!r}", where=path)
    for line, cells in rows:
        if len(cells) != len(names):
            raise FileError(f"line {line} has {len(cells)} cells, the header {len(names)}", where=path)
    return [dict(zip(names, cells, strict=True)) for _, cells in rows[1:]]


def table_path(folder: Path, text: str) -> Path:
    """The file that a table's cell names, from the table's folder; ``\\`` parts folders too, where that finds it."""
    path, other = folder / text, folder / text.replace("\\", "/")
    return other if not path.exists() and other.exists() else path


def check_present(paths: Sequence[Path], where: Path | None = None) -> None:
    """Raise one FileError that names every missing file (the first 50 of them), or an InputError for a folder."""
    missing = [str(path) for path in paths if not path.exists()]
    if len(missing) == 1 and where is None:
        raise FileError("no such file", where=missing[0])
    if missing:
        named = ", ".join(missing[:50]) + (f" and {len(missing) - 50} more" if len(missing) > 50 else "")
        raise FileError(f"{len(missing)} of {len(paths)} files are missing: {named}", where=where)
    for path in paths:
        if path.is_dir():
            raise InputError("is a folder", where=path, remedy="name the files in it")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns an error of the system while a file is read into one line. Raises FileError."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileError("no such file", where=path) from error
    except FileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise FileError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=path) from error


def make_folder(path: str | PathLike) -> Path:
    """Make a folder, and those above it, where they are missing. Raises FileError where that fails."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", where=path, remedy="name another with -o") from error
    return path


def write_whole(
    path: str | PathLike,
    content: bytes | str | Callable[[Path], Any],
    *,
    parents: bool = False,
    durable: bool = False,
) -> None:
    """Write a file atomically: a reader sees the old content or the new one, and an error leaves the old one.

    The content goes to a hidden file with a unique name in the same folder, which then replaces ``path``. So several
    threads or processes may write the same path; the last one wins. Where ``path`` is a symbolic link, the file that it
    points to is replaced and the link stays.

    Args:
        path: the file.
        content: bytes; text, written as UTF-8; or a function that writes a file at the path it is given, which has the
            suffix of ``path``.
        parents: make the folders above it that are missing.
        durable: wait until the content and the folder's entry are on the disk, so that they survive a loss of power.

    Raises:
        FileError: the file cannot be written, or the path is no name of a file.
    """
    path, target = Path(path), _target(path)
    # a name may have 255 bytes, which is 4 for each of these characters, the token and the rest
    name = f".{target.stem[:32]}.{secrets.token_hex(8)}.part{target.suffix[:24]}"
    temporary = target.with_name(name)
    with _writing(path):
        if parents:
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if callable(content):
                content(temporary)
            else:
                temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            if durable:
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        if durable:
            _sync_folder(target.parent)


def rename_durably(old: Path, new: Path) -> None:
    """Rename a file over another one in the same folder, and wait until that is on the disk.

    Raises:
        FileError: it cannot be renamed.
    """
    with _writing(new):
        os.replace(old, new)
        _sync_folder(new.parent)


def _target(path: str | PathLike) -> Path:
    """The file that a path names, through symbolic links. Raises FileError where it cannot be a file's name."""
    if not Path(path).name or "\0" in str(path):
        raise FileError(f"{os.fspath(path)!r} is no name of a file")
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # characters that no file system takes
        raise FileError(f"{os.fspath(path)!r} is no name of a file") from error


def _sync_folder(folder: Path) -> None:
    """Wait until the entries of a folder are on the disk; nothing where folders cannot be opened, as on Windows."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns an OSError into a FileError that says that the file cannot be written."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot be written ({error.strerror or error})", where=path) from error


def write_tensors(
    path: str | PathLike,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    parents: bool = False,
) -> None:
    """Write contiguous tensors as one .safetensors file, atomically; arguments and errors as ``write_whole``."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def write(temporary: Path) -> None:
        try:
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)
            save_file(dict(tensors), temporary, metadata=None if metadata is None else dict(metadata))
            temporary.chmod(mode)  # safetensors writes for the owner alone
        except SafetensorError as error:  # such as a full disk
            raise FileError(f"cannot be written ({error})", where=path) from error

    write_whole(path, write, parents=parents)


def require_model_suffix(path: str | PathLike) -> Path:
    """The path. Raises FileError unless ``write_model`` takes it."""
    path = Path(path)
    if path.suffix != MODEL_SUFFIX:
        raise FileError(f"suffix {path.suffix!r} is not {MODEL_SUFFIX}", where=path)
    return path


def write_model(path: str | PathLike, tensors: Mapping[str, Tensor], key: str, facts: Mapping[str, Any]) -> Path:
    """Write what was trained as one .safetensors file, its facts as JSON under a key of the header; folders are made.

    Args:
        path: the file.
        tensors: by name, on any device.
        key: says what the file is.
        facts: of JSON's types.

    Returns:
        The path.

    Raises:
        FileError: another suffix, or the file cannot be written.
    """
    path = require_model_suffix(path)
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_tensors(path, kept, {key: json.dumps(facts)}, parents=True)
    return path


def restore_model(
    data: bytes, key: str, build: Callable[[dict[str, Tensor], Any], T], what: str, where: str | PathLike, remedy: str
) -> T:
    """``build`` of the tensors and the facts that ``write_model`` wrote. Nothing in the file is run.

    Args:
        data: content of the file.
        key: as it was written with.
        build: may raise anything on a damaged or foreign file. A SpaceMismatchError is passed on.
        what: the file should hold, such as "head of films".
        where, remedy: of the error.

    Raises:
        FileError: the file is damaged or holds something else, or values that are not finite.
    """
    try:
        tensors, facts = parse_tensors(data, key)
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise ValueError("values are not finite")
        return build(tensors, facts)
    except SpaceMismatchError:
        raise
    except Exception as error:  # whatever safetensors, json or torch trip over
        raise FileError(f"is no {what}: {error}", where=where, remedy=remedy) from error


def parse_tensors(data: bytes, key: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a .safetensors file by name, and the JSON text that its header holds under a key.

    Raises:
        ValueError: the header has no such key. Else what safetensors and json raise for a damaged file.
    """
    from safetensors.torch import load

    tensors = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    if key not in header.get("__metadata__", {}):
        raise ValueError(f"its header has no {key}")
    return tensors, json.loads(header["__metadata__"][key])


def require_regular(path: Path, about: os.stat_result) -> None:
    """Raise FileError for a folder or a device: reading a pipe or /dev/zero would never end."""
    if not stat.S_ISREG(about.st_mode):
        raise FileError("is a folder" if stat.S_ISDIR(about.st_mode) else "is not a regular file", where=path)


def read_npz(
    file: str | PathLike | IO[bytes], names: Collection[str] | None = None, max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """The arrays of an .npz, or those of ``names`` that it has; nothing is unpickled.

    Raises:
        ValueError: more than ``max_bytes`` in all, a hundredfold of what the file holds and over 16 MB (a bomb: numbers
            compress little), or as ``read_array``. Besides, whatever zipfile and zlib raise on a damaged file.
    """
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if names is not None:
            members = {name: info for name, info in members.items() if name in names}
        packed, whole = (sum(getattr(i, size) for i in members.values()) for size in ("compress_size", "file_size"))
        if whole > min(max_bytes, max(2**24, 100 * packed)):
            raise ValueError(f"would unpack from {packed:,} to {whole:,} bytes")
        arrays = {}
        for name, info in members.items():
            with archive.open(info) as member:
                arrays[name] = read_array(member, info.file_size)
        return arrays


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array of an .npy of ``size`` bytes in all; its header is compared with that before the rest is read.

    Raises:
        ValueError: no .npy, another size than its header promises, or an array of objects, which would be unpickled.
    """
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if dtype.hasobject:
        raise ValueError(f"plain values expected, got an array of {dtype}")
    promised, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != left:
        raise ValueError(f"the header promises {promised:,} bytes, the file holds {left:,}")
    data = bytearray()
    while chunk := file.read(2**20):  # by parts: a zip's member would otherwise be held twice
        data += chunk
    if len(data) != left:
        raise ValueError(f"the file is cut short: {left:,} bytes promised, {len(data):,} there")
    values = np.frombuffer(data, dtype) if promised else np.empty(0, dtype)
    return values.reshape(shape, order="F" if fortran else "C")
