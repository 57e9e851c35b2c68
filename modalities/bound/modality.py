"""The bound modality: the files of any encoder, in a joint space by a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clipx._arrays import unit_rows
from clipx.errors import InputError
from clipx.modalities.bound.encoders import Encoder, OtherSpace, get_encoder, parts_of
from clipx.modalities.bound.map import BoundMap, load_map
from clipx.modality import Modality, ReadsArrays
from clipx.parts import Parts
from clipx.registry import get_modality

if TYPE_CHECKING:
    from clipx.space import JointSpace

_EXAMPLE = 16  # features of the example


@dataclass(frozen=True)
class BoundConfig:
    """Settings of ``Bound``."""

    map: str | None = field(default=None, metadata={"help": "what clipx bind wrote: the encoder and its map"})

    def __post_init__(self) -> None:
        if self.map is not None:  # an index keeps it, and is searched from other folders
            object.__setattr__(self, "map", str(Path(self.map).expanduser().absolute()))


class Bound(Modality):
    """Whatever an encoder reads, mapped into the space.

    It owns no suffix: files are given to it by name, ``--modality bound --map FILE``. Without a map it reads no file;
    its samples are then arrays of 16 features, which a random map places, so that the contract can be tested.
    """

    name = "bound"
    suffixes = ()
    Config = BoundConfig

    config: BoundConfig

    def __init__(self, space: JointSpace, config: Any = None):
        super().__init__(space, config)
        if self.config.map is not None:
            self.context, self.prompts = self.map.sha256, self.map.prompts
            self.example = self._own_example  # type: ignore[method-assign]
            name, at, _ = self.map.encoder.partition("@")
            reader: Any = get_modality(name) if at else None
            if isinstance(reader, ReadsArrays):  # then rows of an .npz are samples here as well
                self.array_key, self.from_array = reader.array_key, self._from_array

    @cached_property
    def map(self) -> BoundMap:
        """Read at first use. Raises InputError where none was given."""
        if self.config.map is None:
            raise InputError("has no map", where=self.name, remedy="make one with clipx bind, and name it with --map")
        return load_map(self.config.map, self.space)

    @cached_property
    def encoder(self) -> Encoder:
        """Loaded at first use. Raises InputError where it is another than that of the map."""
        found = get_encoder(self.map.encoder, str(self.space.device))
        if found.id != self.map.encoder_id:
            what = f"the encoder {self.map.encoder} is another than the map was made for"
            raise InputError(what, where=self.config.map, remedy="bring it back, or bind again with clipx bind")
        return found

    def unavailable(self) -> str | None:
        if self.config.map is None:
            return "bound: has no map; make one with clipx bind, and name it with --map"
        return None

    def load(self, path: str | PathLike) -> Any:
        """A sample of the encoder. Raises what it raises, and InputError without a map."""
        return self.encoder.load(path)

    def _from_array(self, array: Any, **about: Any) -> Any:
        found = cast(OtherSpace, self.encoder).modality
        return cast(ReadsArrays, found).from_array(array, **about)

    def parts(self, samples: Sequence[Any]) -> Parts:
        """The parts that the encoder has, such as windows of a sound, each mapped."""
        if self.config.map is None:
            rows = np.stack([np.asarray(sample, np.float32) for sample in samples])
            return Parts.whole(unit_rows(rows @ np.random.default_rng(0).normal(size=(_EXAMPLE, self.space.dim))))
        found = parts_of(self.encoder, samples)
        return Parts(self.map(found.vectors), found.offsets, found.places)

    def _own_example(self) -> Any:
        """A sample of the encoder. Raises NotImplementedError where it has none."""
        if not isinstance(self.encoder, OtherSpace):
            raise NotImplementedError
        return self.encoder.modality.example()

    @classmethod
    def example(cls) -> np.ndarray:
        """Sixteen features, as it takes them without a map."""
        return np.linspace(-1, 1, _EXAMPLE, dtype=np.float32)
