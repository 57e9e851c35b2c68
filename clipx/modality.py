"""The contract every sense fulfils: files in, unit vectors of a joint space out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError

if TYPE_CHECKING:
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier


@dataclass(frozen=True)
class NoConfig:
    """The config of a modality with nothing to set."""


class Modality(ABC):
    """A sense attached to a frozen joint space.

    A subclass sets the class attributes and writes ``load`` and ``vectors``; ``clipx.testing`` checks the rest of the
    contract. It is registered by an entry point of the group ``clipx.modalities``.

    Args:
        space: the frozen joint space.
        config: an instance of ``Config``; its defaults when left out.
    """

    name: ClassVar[str]  # the entry point's name
    suffixes: ClassVar[tuple[str, ...]]  # lower case, with the dot; each suffix has one owner
    Config: ClassVar[type] = NoConfig  # a frozen dataclass; every field has a default and metadata={"help": ...}
    domain: str = "photo"  # the picture domain of what it shows the space (``JointSpace.domains``)
    prompts: str = "photo"  # the prompt set that suits this sense as it is configured (clipx.prompts)
    context: str = ""  # what else decides the vectors than the config: part of the key of cached features
    tuned_on: str = ""  # the labels that settings of this config were fitted on, as far as the sense knows; or none
    array_key: ClassVar[str | None] = None  # the key under which an .npz data set holds this modality's samples

    def __init__(self, space: JointSpace, config: Any = None):
        self.config = self.Config() if config is None else config
        if not isinstance(self.config, self.Config):
            raise InputError(f"expected a {self.Config.__qualname__}, got {type(config).__name__}", where=self.name)
        self.space = space.domain(self.domain)

    @abstractmethod
    def load(self, path: str | PathLike) -> Any:
        """Read one file into a sample. Raises FileError or InputError, never anything else, on a bad file.

        A sense may take more, by name and with defaults: what the table of a labelled set says of a file in the column
        of that name, such as ``up``.
        """

    @abstractmethod
    def vectors(self, samples: Sequence[Any]) -> Tensor:
        """Samples (at least one) -> (N, D) unit vectors. Must not depend on the batch they come in."""

    @classmethod
    def claims(cls, path: str | PathLike) -> bool:
        """Whether a file of one of ``suffixes`` that was met in a folder is this sense's, at a glance into it.

        For suffixes that others use as well: ``notes.txt`` is passed over without a word. A file that is named is read
        in any case. A file that cannot be opened is claimed, so that ``load`` says why.
        """
        return True

    def view_vectors(self, samples: Sequence[Any]) -> Tensor:
        """What ``vectors`` pools, before it is pooled: samples (at least one) -> (N, V, D) unit vectors.

        V >= 1 is the same for all samples. Few-shot classifiers read views apart, which tells them more than their
        mean. A sense that looks once has one view.
        """
        return self.vectors(samples)[:, None]

    def window_vectors(self, sample: Any) -> tuple[Tensor, list[tuple[float, float]]] | None:
        """A sample that lasts, by parts: (W, D) unit vectors, W >= 1, and each part's (start, end) in seconds.

        An index keeps the parts apart, so that a search can name the place. None for what does not last.
        """
        return None

    def windows_of(self, samples: Sequence[Any]) -> list[tuple[Tensor, list[tuple[float, float]]] | None]:
        """``window_vectors`` of several samples; one whose tower takes windows of several at once overrides it."""
        return [self.window_vectors(sample) for sample in samples]

    def encode(self, samples: Sequence[Any], ids: Sequence[str] = ()) -> Embedding:
        """Samples -> Embedding. An empty list gives an empty embedding; samples are never changed."""
        with torch.no_grad():
            empty = torch.zeros(0, self.space.dim, device=self.space.device)
            rows = self.vectors(samples).float() if len(samples) else empty
        return Embedding(rows, self.space.id, self.name, ids)

    def from_array(self, array: Any, **about: Any) -> Any:
        """One row of an .npz data set's ``array_key`` -> a sample; ``about``: the file's scalars, such as ``up``."""
        raise NotImplementedError

    @classmethod
    def read_set(cls, path: Path, where: Sequence[tuple[str, str]] = ()) -> dict[str, Any] | None:
        """A labelled set in a layout of this sense's own, as an .npz would hold it; None where the path is no such set.

        Args:
            path: a file or a folder that exists.
            where: (column, value) pairs that the caller is going to filter by, so that files need not be read in vain.

        Returns:
            ``array_key`` -> (N, ...), or ``path`` -> (N,) files from that folder; ``labels`` -> (N,) class names or
            integers into ``classes``; columns (N,), such as ``split``; and scalars as facts about the samples.

        Raises:
            FileError: the layout is known, and a file of it is missing, damaged or not what was published.
        """
        return None

    def among(self, classifier: ZeroShotClassifier) -> Modality:
        """This sense, told what its samples will be classified among.

        Most senses do not care and return themselves. One that does returns another instance, whose ``context`` names
        the classifier.
        """
        return self

    def lacks(self) -> str | None:
        """What this sense still needs to work in its space, such as weights, in one line; None where it works."""
        return None

    def pictures(self, sample: Any) -> Tensor | None:
        """What the space looks at, (V, 3, H, W) in [0, 1] to show a person; None where there is nothing to see."""
        return None

    @classmethod
    def example(cls) -> Any:
        """A small valid sample, made in code; the contract suite runs on it and on variations of it."""
        raise NotImplementedError

    @classmethod
    def missing(cls) -> str | None:
        """None when the modality works here, else one line that names what to install."""
        return None
