"""The contract of a modality: files in, unit vectors of a joint space out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from clipx._arrays import no_grad, to_array
from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.parts import Parts

if TYPE_CHECKING:
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier


@dataclass(frozen=True)
class NoConfig:
    """The config of a modality with nothing to set."""


class Modality(ABC):
    """A kind of data attached to a frozen joint space.

    A subclass sets the class attributes and writes ``load``, ``parts`` and ``example``; ``clipx.testing`` checks the
    rest of the contract. It is registered by an entry point of the group ``clipx.modalities``. What only some
    modalities can do are protocols below: labelled sets, pictures to show, and depending on a classifier.

    Args:
        space: the frozen joint space.
        config: an instance of ``Config``; its defaults when left out.
    """

    name: ClassVar[str]  # the entry point's name
    suffixes: ClassVar[tuple[str, ...]]  # lower case, with the dot; each suffix has one owner
    Config: ClassVar[type] = NoConfig  # a frozen dataclass; every field has a default and metadata={"help": ...}
    domain: str = "photo"  # the picture domain of what it shows the space (``JointSpace.domains``)
    prompts: str = "photo"  # the prompt set that suits it as it is configured (clipx.prompts)
    context: str = ""  # what else decides the vectors than the config: part of the key of cached features
    tuned_on: str = ""  # the labels that settings of this config were fitted on, as far as it knows; or none
    weighs_parts: bool = False  # whether ``pool`` weighs parts by the config, which makes no sense of single parts

    def __init__(self, space: JointSpace, config: Any = None):
        self.config = self.Config() if config is None else config
        if not isinstance(self.config, self.Config):
            raise InputError(f"expected a {self.Config.__qualname__}, got {type(config).__name__}", where=self.name)
        self.space = space.domain(self.domain)

    @abstractmethod
    def load(self, path: str | PathLike) -> Any:
        """Read one file into a sample. Raises FileError or InputError, never anything else, on a bad file.

        A modality may take more, by name and with defaults: what the table of a labelled set says of a file in the
        column of that name, such as ``up``.
        """

    @abstractmethod
    def parts(self, samples: Sequence[Any]) -> Parts:
        """N samples (at least one) -> their parts: unit vectors, which must not depend on the batch they come in.

        The pipeline calls it in several threads at once, after a first call in one.
        """

    def pool(self, parts: Parts) -> np.ndarray:
        """Parts of N samples -> (N, D) unit vectors, one a sample."""
        return parts.mean()

    @classmethod
    def example(cls) -> Any:
        """A small valid sample, made in code; the contract suite runs on it and on variations of it."""
        raise NotImplementedError

    def encode(self, samples: Sequence[Any], ids: Sequence[str] = ()) -> Embedding:
        """Samples -> Embedding. An empty list gives an empty embedding; samples are never changed."""
        with no_grad():
            pooled = self.pool(self.parts(samples)) if len(samples) else np.zeros((0, self.space.dim))
        rows = to_array(pooled).astype(np.float32, copy=False)
        return Embedding(rows, self.space.id, self.name, ids)

    @classmethod
    def claims(cls, path: str | PathLike) -> bool:
        """Whether a file of one of ``suffixes`` found in a folder is of this modality, by a short look into it.

        For suffixes that others use as well: ``notes.txt`` is skipped silently. A file that is named is read in any
        case. A file that cannot be opened is claimed, so that ``load`` says why. Of a file at a URL no more than the
        first 64 KB are there.

        It also decides where two modalities own a suffix: a file goes to the one that overrides this and claims it,
        and else to the one that does not look, which has those that cannot be opened too.
        """
        return True

    def unavailable(self) -> str | None:
        """What it still needs to work in its space, such as weights, in one line; None where it works."""
        return None

    @classmethod
    def missing(cls) -> str | None:
        """None when the modality works on this machine, else one line that names what to install."""
        return None


@runtime_checkable
class ReadsArrays(Protocol):
    """A modality whose samples may be rows of an .npz data set."""

    array_key: ClassVar[str]  # the key under which the .npz holds them

    def from_array(self, array: Any, **about: Any) -> Any:
        """One row -> a sample; ``about``: the file's scalars, such as ``up``."""


@runtime_checkable
class TakesObjects(Protocol):
    """A modality whose samples may be objects of a user's program, such as PIL pictures."""

    objects: ClassVar[str]  # what it takes, in words, for messages

    @classmethod
    def takes(cls, value: Any) -> bool:
        """Whether a value is of this modality: by type and shape alone, and nothing is imported for it."""

    def from_object(self, value: Any) -> Any:
        """A value -> a sample. Raises InputError where it is none, or a bad one; never anything else."""


@runtime_checkable
class ReadsSets(Protocol):
    """A modality that knows labelled sets in layouts of their own, such as a public benchmark's files."""

    @classmethod
    def read_set(cls, path: Path, where: Sequence[tuple[str, str]] = ()) -> dict[str, Any] | None:
        """A labelled set as an .npz would hold it; None where the path is no such set.

        Args:
            path: a file or a folder that exists.
            where: (column, value) pairs that the caller is going to filter by, so that files need not be read in vain.

        Returns:
            ``array_key`` -> (N, ...), or ``path`` -> (N,) files from that folder; ``labels`` -> (N,) class names or
            integers into ``classes``; columns (N,), such as ``split``; and scalars as facts about the samples.

        Raises:
            FileError: the layout is known, and a file of it is missing, damaged or not what was published.
        """


@runtime_checkable
class ReadsLater(Protocol):
    """A sample that reads its file while it is encoded, such as a sound too long for memory."""

    path: Path


@runtime_checkable
class ReadsTracks(Protocol):
    """A modality that also reads one track of files that another one owns, such as the sound of films.

    An index keeps the parts of the track beside those of the file. ``load`` raises NoTrackError where there is none.
    """

    tracks_of: ClassVar[tuple[str, ...]]  # suffixes of such files, lower case, with the dot


@runtime_checkable
class ShowsPictures(Protocol):
    """A modality whose samples a person can look at."""

    def pictures(self, sample: Any) -> np.ndarray:
        """What the space looks at, (V, 3, H, W) floats in [0, 1], V >= 1."""


@runtime_checkable
class ShowsMoments(Protocol):
    """A modality whose files show another picture at each time."""

    def moment(self, path: str | PathLike, time_s: float) -> np.ndarray:
        """What there is to see at a time in seconds, (3, H, W) floats in [0, 1]. Raises FileError as ``load`` does."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What a person can turn and look at from all sides.

    Args:
        points: (P, 3) float, P >= 1, +y up, in any unit.
        triangles: (F, 3) int rows of the points; None for a cloud.
        colors: (P, 3) RGB in [0, 1], or None.
    """

    points: np.ndarray
    triangles: np.ndarray | None = None
    colors: np.ndarray | None = None


@runtime_checkable
class ShowsShapes(Protocol):
    """A modality whose files hold shapes in space."""

    def shape(self, path: str | PathLike) -> Shape:
        """The shape in a file, as it is stored there but upright. Raises FileError as ``load`` does."""


@runtime_checkable
class DependsOnClassifier(Protocol):
    """A modality whose vectors may depend on the labels that they will be classified by."""

    def bind(self, classifier: ZeroShotClassifier) -> Self:
        """Itself where they do not depend on it; else another instance, whose ``context`` names the classifier."""


def looks_into_files(cls: type[Modality]) -> bool:
    """Whether a modality decides file by file what it claims."""
    return any("claims" in vars(base) for base in cls.__mro__ if base is not Modality)


def bound(modality: Modality, classifier: ZeroShotClassifier) -> Modality:
    """The modality as it encodes samples that the classifier will name."""
    return modality.bind(classifier) if isinstance(modality, DependsOnClassifier) else modality


def pictures_of(modality: Modality, sample: Any) -> np.ndarray | None:
    """What the space looks at, (V, 3, H, W) floats in [0, 1], or None where there is nothing to show."""
    return to_array(modality.pictures(sample)) if isinstance(modality, ShowsPictures) else None
