"""``meta.json``: what an index is of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import clipx
from clipx.errors import ContractError, FileError, InputError
from clipx.files import write_whole
from clipx.registry import get_modality, version_of
from clipx.settings import plain, restored

SCHEMA = 2
NAME = "meta.json"
_BEGUN = re.compile(r"\.lock|\.meta\.[0-9a-f]+\.part\.json")
NEXT = "next.json"  # of the store that a move to another space fills; renamed to NAME when that is complete


@dataclass(frozen=True)
class SpaceRecord:
    """Which space the vectors are of.

    Args:
        id: ``JointSpace.id``.
        name, version: for people.
        dim: D.
        source: what ``clipx.load_space`` takes.
    """

    id: str
    name: str
    version: str
    dim: int
    source: str


@dataclass(frozen=True)
class Meta:
    """What an index is of.

    Args:
        space: of the vectors.
        table: name of the store that holds them.
        cells: the effort of a search by the approximate index, see ``Store.nearest``; None where that is not built.
        built_of: how many rows there were when it was built.
        efforts: modality -> the effort of a search of it alone, where it was measured.
        modalities: name -> its ``config`` (JSON's types), the ``version`` of its package, and once something was
            encoded its ``context`` (see ``Modality``), such as the hash of a tower's weights.
        clipx: the version that made it.
        store: which store holds the rows; "" for the default one.
    """

    space: SpaceRecord
    table: str = "items-1"
    cells: int | None = None
    built_of: int | None = None
    efforts: Mapping[str, int] = field(default_factory=dict)
    modalities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    clipx: str = clipx.__version__
    store: str = ""

    @staticmethod
    def exists(folder: Path, name: str = NAME) -> bool:
        """Whether the folder is an index, damaged or not."""
        return (folder / name).exists()

    @classmethod
    def read(cls, folder: Path, name: str = NAME) -> Meta:
        """Read the record that ``write`` wrote.

        Raises:
            FileError: the folder is no index, or its meta.json is damaged or of a later kind.
        """
        if not folder.is_dir():
            raise FileError("no such index", where=folder, remedy="make one: clipx index FOLDER --db NAME")
        path = folder / name
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(record, dict) or "clipx_index" not in record:
                raise FileError("is not the meta.json of a clipx index", where=path)
            if record["clipx_index"] != SCHEMA:
                raise FileError(
                    f"is an index of kind {record['clipx_index']}; this clipx reads kind {SCHEMA}",
                    where=folder,
                    remedy="upgrade clipx, or index again in another folder",
                )
            del record["clipx_index"]
            meta = cls(**{**record, "space": SpaceRecord(**record["space"])})
            if not meta._is_valid():
                raise ValueError
            return meta
        except FileNotFoundError as error:
            what, remedy = "is not a clipx index: it has no meta.json", None
            if only_begun(folder):
                what, remedy = "is empty: it was stopped while it was made", f"go on: clipx index FOLDER --db {folder}"
            raise FileError(what, where=folder, remedy=remedy) from error
        except FileError:
            raise
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            why = getattr(error, "strerror", None) or "it is corrupt"
            raise FileError(f"cannot be read ({why})", where=path, remedy="index again in another folder") from error

    def _is_valid(self) -> bool:
        kinds = {name: int if name == "dim" else str for name in asdict(self.space)}
        whole = all(isinstance(getattr(self.space, name), kind) for name, kind in kinds.items())
        parts = isinstance(self.modalities, dict) and all(isinstance(own, dict) for own in self.modalities.values())
        numbers = (self.cells, self.built_of, *self.efforts.values())
        cells = all(value is None or isinstance(value, int) for value in numbers)
        return whole and parts and cells and re.fullmatch(r"items-[0-9]+", self.table) is not None

    def write(self, folder: Path, name: str = NAME) -> None:
        """An atomic write: a reader sees the old one or the new one. Raises FileError."""
        text = json.dumps({"clipx_index": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False)
        write_whole(folder / name, text + "\n", durable=True)

    def with_modalities(self, names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> Meta:
        """With the modalities of ``names`` of which nothing was encoded yet, set as ``settings`` say.

        Raises:
            InputError: one that is there already is set otherwise.
        """
        modalities = dict(self.modalities)
        for name in sorted(names):
            given = settings.get(name, {})
            if "context" not in modalities.get(name, {}):  # nothing was encoded yet
                try:
                    cls = get_modality(name)
                except ContractError:
                    continue  # its files will fail one by one
                config = plain(asdict(cls.Config(**{**self.config_of(name), **given})))
                modalities[name] = {"config": config, "version": version_of(name)}
                continue
            for key, value in given.items():
                stored = modalities[name]["config"].get(key)
                if plain(value) != stored:
                    raise InputError(
                        f"the index holds {name} with {key} = {stored!r}, not {value!r}",
                        remedy="leave it out, or move the whole index: clipx index --reembed",
                    )
        return replace(self, modalities=modalities)

    def with_context(self, name: str, context: str) -> Meta:
        """With what else decides the vectors of a modality.

        Raises:
            InputError: its files were encoded with something else.
        """
        own = self.modalities.get(name, {})
        if own.get("context", context) != context:
            raise InputError(
                f"the index holds {name} as another tower gave it ({_start(own['context'])}, not {_start(context)})",
                remedy="bring that tower back, or move the whole index: clipx index --reembed",
            )
        return replace(self, modalities={**self.modalities, name: {**own, "context": context}})

    def with_settings(self, changed: Callable[[Any], Any]) -> Meta:
        """With ``changed(value)`` in place of every setting of a modality, and of where the space was loaded from."""
        modalities = {
            name: {**own, "config": {key: changed(value) for key, value in own["config"].items()}}
            for name, own in self.modalities.items()
        }
        space = replace(self.space, source=changed(self.space.source))
        return replace(self, space=space, modalities=modalities)

    def with_encoded(self, name: str, own: Mapping[str, Any]) -> Meta:
        """With a modality as another process encoded by it: its ``config`` and its ``context``.

        Raises:
            InputError: its files were encoded otherwise.
        """
        config = replace(self, modalities={name: own}).config_of(name)
        return self.with_modalities([name], {name: config}).with_context(name, own["context"])

    def config_of(self, name: str) -> dict[str, Any]:
        """The settings of a modality, as its ``Config`` takes them; its defaults for one that is not in the index."""
        stored = self.modalities.get(name, {}).get("config", {})
        return restored(get_modality(name).Config, stored)


def only_begun(folder: Path) -> bool:
    """Whether a folder holds nothing but what a process leaves that was stopped before it wrote meta.json."""
    return all(_BEGUN.fullmatch(path.name) for path in folder.iterdir())


def is_index(folder: Path) -> bool:
    """Whether a folder's meta.json is that of an index, of whatever kind."""
    try:
        record = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and "clipx_index" in record


def _start(context: str) -> str:
    return context[:12] or "none"
