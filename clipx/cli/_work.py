"""What the commands that encode have in common: open the space, take the files, encode with progress and a cache."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import typer

from clipx._lazy import uncollected
from clipx.cli._flags import Given, read_toml, settings_of
from clipx.errors import ClipxError, FileError, InputError, MissingDependencyError
from clipx.files import check_present, read_text
from clipx.progress import note, progress

if TYPE_CHECKING:
    from clipx.embedding import Embedding
    from clipx.modality import Modality
    from clipx.pipeline import Item
    from clipx.prompts import Prompts
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier

Made = TypeVar("Made")
REAL_CLIP = "ViT-B-32-quickgelu/openai"
SUFFIXES_SHOWN = 8


def encode(
    encoder: Modality,
    items: Sequence[Item],
    batch_size: int = 32,
    cache: Path | None = None,
    separate: bool = False,
    failures: dict[str, ClipxError] | None = None,
) -> Embedding:
    """Items -> one Embedding under a progress bar; vectors in the cache are not computed again.

    With ``separate``, every item has a row for each of its views. With ``failures``, an item that cannot be read or
    encoded goes there by its id, and has no row; without, it ends the run.
    """
    from clipx import pipeline
    from clipx.cache import CachedVectors
    from clipx.parts import View

    store = None if cache is None else CachedVectors(cache, encoder.space.dim, separate)
    on_error: Literal["raise", "record"] = "raise" if failures is None else "record"
    kinds, records = (View,) if separate else (), []
    with progress(f"encoding ({encoder.name})", len(items)) as advance:
        for batch in pipeline.encode(items, encoder, separate=kinds, cache=store, on_error=on_error, batch=batch_size):
            for one in batch:
                if isinstance(one, pipeline.Encoded):
                    records.append(one)
                elif failures is None or not isinstance(one.error, ClipxError):
                    raise one.error
                else:
                    failures[one.item.id] = one.error
            advance(len(batch))
    return pipeline.embedding_of(records, encoder, separate)


@dataclass
class Files:
    """What paths on a command line stand for.

    Args:
        files: named files, and those in folders that an index would take in, in order.
        failures: path -> why it cannot be taken or, as the run goes on, be read or encoded.
        skipped: suffix -> how many files in the folders have it though no modality reads it.
    """

    files: list[Path] = field(default_factory=list)
    failures: dict[str, ClipxError] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def files_in(paths: Sequence[Path], modality: str | None) -> Files:
    """Named files, and the files in folders that an index would take in.

    Raises:
        FileError: every missing path, in one line. InputError: an unknown modality, or nothing at all to take.
    """
    from clipx.registry import get_modality, modality_of

    check_present([path for path in paths if not path.is_dir()])
    if modality is not None:
        get_modality(modality)
    found = Files()
    for path in paths:
        if path.is_dir():
            from clipx.index.scan import find_files  # which one file need not wait for

            walk = find_files([path], modality, tracks=True)
            found.files += [path / Path(file.path).relative_to(os.path.abspath(path)) for file in walk.files]
            found.failures |= walk.errors()
            found.skipped += walk.skipped
            continue
        try:
            modality or modality_of(path)
            found.files.append(path)
        except InputError as error:
            remedy = f"{error.remedy}; or name the modality with --modality"
            found.failures[str(path)] = InputError(error.what, where=path, remedy=remedy)
    if not found.files and not found.failures:
        why = f"holds no file that {'a modality' if modality is None else f'the modality {modality}'} reads"
        if found.skipped:
            why += f": {counted(found.skipped)}"
        raise InputError(why, where=paths[0])
    return found


def one_by_one(
    what: str,
    files: Sequence[Path],
    stems: Sequence[Path],
    make: Callable[[Path], Made],
    write: Callable[[Path, Path, Made], dict[str, Any]],
    failures: dict[str, ClipxError],
) -> tuple[list[dict[str, Any]], bool]:
    """File after file, of which only one is in memory: the records, and whether Ctrl-C or SIGTERM ended it.

    Args:
        what: shown beside the progress, such as "segmenting".
        files: paths.
        stems: where the results of each go, see ``picture_stems``.
        make: reads a file and makes its result. A ClipxError goes to ``failures``, by the file's path.
        write: (path, stem, result) -> the record, once all is written; what it raises ends the run. A run is stopped
            between two files.
        failures: is filled.
    """
    from clipx.task import stopping

    results = []
    with stopping(None) as stop, progress(what, len(files)) as advance:
        for path, stem in zip(files, stems, strict=True):
            try:
                made = make(path)
            except ClipxError as error:
                failures[str(path)] = error
            else:
                results.append(write(path, stem, made))
            advance(1)
            if stop():
                return results, True
    return results, False


def conclude(
    record: dict[str, Any],
    failures: Mapping[str, ClipxError],
    as_json: bool,
    table: Callable[[], None],
    out: Path | None = None,
    skipped: Mapping[str, int] | None = None,
    made: bool = False,
) -> None:
    """End a run over many files: print the record and, on stderr, a line for each file that could not be read.

    The record gets ``failures`` and ``skipped``. The table is left out where it has no rows. ``made``: other files were
    read, though no results are of them, such as a model that is measured on nothing.

    Raises:
        typer.Exit: with status 2, where there is a failure.
        ClipxError: the failure, where it is the only file.
    """
    from clipx.cli._output import emit, printable

    record["failures"] = [{"path": path, "reason": reason(path, error)} for path, error in failures.items()]
    record["skipped"] = dict(skipped or {})
    emit(record, as_json, table if record["results"] else lambda: None, out)
    if skipped:
        note(printable(counted(skipped)))
    if len(failures) == 1 and not record["results"] and not made:
        raise next(iter(failures.values()))
    absent: dict[str, list[str]] = {}  # a missing package is reported once
    for path, error in failures.items():
        if isinstance(error, MissingDependencyError):
            absent.setdefault(reason(path, error), []).append(path)
        else:
            note(f"not read: {printable(path)}: {reason(path, error)}")
    for why, paths in absent.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        note(f"not read: {printable(paths[0])}{more}: {why}")
    if failures:
        raise typer.Exit(2)


def counted(skipped: Mapping[str, int]) -> str:
    """``Walk.skipped`` as one line: ``6 files of no known suffix: .cr2 4, .mov 1, no suffix 1``."""
    total, ranked = sum(skipped.values()), sorted(skipped.items(), key=lambda pair: (-pair[1], pair[0]))
    named = [f"{suffix or 'no suffix'} {count}" for suffix, count in ranked[:SUFFIXES_SHOWN]]
    if rest := len(ranked) - len(named):
        named.append(f"and {rest} other{'s' if rest > 1 else ''}")
    return f"{total:,} file{'s' if total != 1 else ''} of no known suffix: {', '.join(named)}"


def reason(path: str, error: ClipxError) -> str:
    """The error in one line, without the path where that stands beside it."""
    return str(error).removeprefix(f"{path}: ")


def encoders(
    paths: Sequence[Path], modality: str | None, settings: Mapping[str, Given]
) -> Callable[[JointSpace], list[tuple[Modality, list[int]]]]:
    """Check settings now; the function returned attaches the modalities to a space.

    Returns:
        space -> the modality of each group of files, with the files' positions in ``paths``.

    Raises:
        InputError: an unknown suffix, or a setting that belongs to none of the modalities.
    """
    from clipx.api import group_by_modality, make_modality

    groups = group_by_modality(paths, modality)
    configs = settings_of(groups, settings)
    return lambda space: [(make_modality(name, space, configs[name]), rows) for name, rows in groups.items()]


def space_name(flag: str | None) -> str:
    """The space's name: the flag, else the environment's, else the user's config file's, else the embedded one."""
    from clipx.spaces.loading import default_name

    name = flag or os.environ.get("CLIPX_SPACE") or user_config().get("space")
    if name is None:
        note(f"space: {default_name()} (small; it knows nouns. A CLIP, fetched from the hub: --space {REAL_CLIP})")
    return name or default_name()


def open_space(name: str | None, device: str, dtype: str, seed: int, backend: str = "auto") -> JointSpace:
    """Load the space of that ``space_name``, and seed the generators.

    Raises:
        InputError, SpaceError: see ``clipx.load_space``.
    """
    name = space_name(name)
    with progress(f"loading space {name}", None), _quiet(), uncollected():
        from clipx.spaces.loading import load_space

        space = load_space(name, device=device, dtype=dtype, backend=backend)
        if "torch" in sys.modules:
            import torch

            torch.manual_seed(seed)
        return space


def user_config() -> dict[str, Any]:
    """The user's own defaults: ``$XDG_CONFIG_HOME/clipx/config.toml`` (``~/.config/...``), which may name a space.

    Raises:
        InputError: a key other than ``space``, or a space that is not a string.
    """
    path = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "clipx" / "config.toml"
    config = read_toml(path) if path.exists() else {}
    if unknown := set(config) - {"space"}:
        raise InputError(f"unknown key {sorted(unknown)[0]!r}", where=path, remedy="known: space")
    if not isinstance(config.get("space", ""), str):
        raise InputError("space must be a string", where=path)
    return config


def versions() -> dict[str, str]:
    """The versions of what computed a figure: the packages on which its last decimals depend."""
    from importlib.metadata import version

    from clipx import __version__

    return {"clipx": __version__, **{name: version(name) for name in ("torch", "open_clip_torch", "numpy")}}


def cache_folder(cache: Path | None, resume: bool) -> Path | None:
    """Where features are kept: ``--cache``, or with ``--resume`` the user's cache folder; None for nowhere."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clipx" / "features"
    return cache if cache is not None or not resume else default


def read_prompts(text: str | None) -> Prompts | None:
    """``--prompts``: a set's name or a template as it stands; ``@file.json`` read into a list or a dict.

    Raises:
        FileError: the file is missing or is not JSON. InputError: JSON of another shape, or an unknown set.
    """
    if text is None:
        return None
    if not text.startswith("@"):
        from clipx.prompts import get_prompts

        if "{}" not in text:
            get_prompts(text)  # refuses an unknown name now, before the space is loaded
        return text
    path = Path(text[1:])
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError("cannot be read as JSON", where=path, remedy="see clipx.prompts for the shape") from error
    lists = [value] if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    if not lists or not all(isinstance(own, list) and all(isinstance(s, str) for s in own) for own in lists):
        raise InputError("must hold a list of templates or an object of label -> list of sentences", where=path)
    return value


def make_classifier(
    space: JointSpace, labels: Sequence[str], prompts: Prompts, none_threshold: float | None = None
) -> ZeroShotClassifier:
    """A classifier; one line on stderr says how many templates of a named set it leaves out, if any."""
    from clipx.zeroshot import ZeroShotClassifier

    classifier = ZeroShotClassifier(space, labels, prompts, none_threshold)
    if dropped := classifier.dropped_prompts:
        count = f"{len(dropped)} template{'s' if len(dropped) > 1 else ''}"
        note(f"prompts {prompts}: {count} left out for words {space.name} never saw, such as {dropped[0]!r}")
    return classifier


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep libraries' warnings off stderr: what matters in them, load_space raises as errors."""
    import warnings

    from clipx._quiet import suppress_logging

    with suppress_logging(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
