"""The requests and answers of the JSON API, version 1. What does not fit them is refused with a line that says why."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TERMS, MAX_LABELS, MAX_HITS, MAX_TEXT = 16, 200, 500, 1000

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
FileId = Annotated[str, Field(min_length=1, max_length=64, description="as the server handed it out")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Error(_Model):
    """What went wrong, in one line."""

    error: str


class Term(_Model):
    """One part of a query: a text or a file."""

    text: Text | None = None
    file: FileId | None = None
    weight: Annotated[float, Field(ge=-100, le=100)] = 1.0
    start_s: float | None = Field(None, description="the window of the file that begins there")


class SearchRequest(_Model):
    """A query, and which files are searched."""

    terms: Annotated[list[Term], Field(min_length=1, max_length=MAX_TERMS)]
    k: Annotated[int, Field(ge=1, le=MAX_HITS)] = 60
    modalities: list[str] | None = None
    folder: FileId | None = None
    since: date | None = Field(None, description="of the last change, this day included")
    until: date | None = Field(None, description="of the last change, this day included")
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0


class QueryRecord(_Model):
    """The first line of a search: the query is encoded."""

    event: Literal["query"] = "query"
    encode_ms: float


class HitRecord(_Model):
    """A file that was found, see ``clipx.index.Hit``."""

    event: Literal["hit"] = "hit"
    rank: int
    file: FileId
    name: str
    folder: str
    modality: str
    score: float
    confidence: float
    e_value: float
    cosine: float
    words: list[str]
    start_s: float | None
    end_s: float | None
    date: str | None = Field(description="of the last change")
    missing: bool
    thumbnail: bool = Field(description="whether there may be one")


class EndRecord(_Model):
    """The last line of a search."""

    event: Literal["end"] = "end"
    count: int
    likely: bool = Field(description="whether any hit has a confidence of 0.5 or more")
    search_ms: float


class Preview(_Model):
    """How a file is shown; ``url`` is relative to the API."""

    kind: Literal["picture", "sound", "film", "shape", "none"]
    url: str | None = None
    reason: str | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    peaks: list[float] | None = None
    wave_start_s: float | None = None
    wave_end_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    points: int | None = None
    triangles: int | None = None


class FileRecord(_Model):
    """A file that was uploaded."""

    file: FileId
    name: str
    modality: str
    words: list[str]
    thumbnail: bool
    preview: Preview


class Word(_Model):
    """A word near to a file."""

    word: str
    cosine: float


class ClassifyRequest(_Model):
    """A file, and the labels to choose from."""

    file: FileId
    labels: Annotated[list[Text], Field(min_length=1, max_length=MAX_LABELS)]


class Prediction(_Model):
    """A label with its probability among the labels."""

    label: str
    probability: float
    cosine: float


class Classified(_Model):
    """The labels of a file, best first."""

    modality: str
    predictions: list[Prediction]


class FolderName(_Model):
    """A folder that can be opened."""

    id: FileId
    name: str


class Folder(_Model):
    """A folder of this machine, as the folder picker shows it."""

    id: FileId | None
    name: str
    path: str
    parent: FileId | None
    folders: list[FolderName]
    files: int = Field(description="files in it that a modality reads, not counting those in its folders")


class IndexedFolder(_Model):
    """A folder that holds indexed files."""

    id: FileId
    name: str
    path: str
    files: int


class IndexRecord(_Model):
    """What is in the index."""

    name: str
    files: int
    modalities: dict[str, int]


class SpaceName(_Model):
    """The joint space."""

    name: str
    id: str


class PanelRecord(_Model):
    """A tab of the page; ``script`` is relative to the page."""

    name: str
    title: str
    script: str


class ModalityRecord(_Model):
    """A kind of file that is read."""

    name: str
    suffixes: list[str]


class About(_Model):
    """What this server offers."""

    version: str
    index: IndexRecord | None
    space: SpaceName | None
    folders: list[IndexedFolder]
    panels: list[PanelRecord]
    modalities: list[ModalityRecord]
    upload_bytes: int
    ready: bool
    error: str | None


class IndexingRequest(_Model):
    """Folders to index; those of the last call when left out."""

    folders: list[FileId] | None = None


class FailureRecord(_Model):
    """A file that could not be read."""

    name: str
    reason: str


class IndexingState(_Model):
    """How far indexing is."""

    state: Literal["idle", "running", "stopping", "stopped", "done", "failed"]
    done: int = 0
    total: int = 0
    files: int = 0
    seconds: float = 0.0
    added: int = 0
    updated: int = 0
    reused: int = 0
    unchanged: int = 0
    removed: int = 0
    failures: list[FailureRecord] = []
    error: str | None = None


class JobRequest(_Model):
    """What a panel is to do."""

    file: FileId | None = None
    settings: dict[str, Any] = {}


class JobRecord(_Model):
    """A job that was taken."""

    job: str
    position: int = Field(description="0: it runs; 1: it waits")
