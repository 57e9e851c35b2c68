"""An index for agents: a server of the Model Context Protocol (MCP) with tools that read and never write.

>>> server(lambda: clipx.Index.open("my.index"), ["photos"]).run("stdio")        # doctest: +SKIP

``clipx mcp`` runs it. The tools answer about files of the index, whose vectors and thumbnails are stored, and about
files in the folders that were named when the server was started. Nothing else is read, whatever path an agent gives.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import clipx
from clipx.errors import ClipxError, FileError, InputError, MissingDependencyError
from clipx.index.query import Term
from clipx.index.remote import is_url
from clipx.index.scan import absolute, is_under, is_utf8
from clipx.index.search import LIKELY

EXTRA = "pip install 'clipx-modalities[mcp]'"
try:
    from mcp.server.mcpserver import Context, Image, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import ToolAnnotations
    from pydantic import BaseModel, Field, ValidationError
except ImportError as error:
    raise MissingDependencyError("clipx mcp needs the package mcp, version 2", remedy=EXTRA) from error

if TYPE_CHECKING:
    from clipx.embedding import Embedding
    from clipx.index import Index
    from clipx.modality import Modality

SHOWN = 200  # characters of a path in an error
INSTRUCTIONS = """\
Searches an index of local files by meaning: photos, drawings, sounds, point clouds, meshes and other kinds of files \
lie in one CLIP space, so that words find files, and any file finds files of every kind.
Start with `search`. Read `confidence`, not `score`: it is the probability that no unrelated file of the index would \
score as high. Where `likely` is false, nothing in the index matches, and the hits are only the nearest of what is \
there: say so instead of presenting them as found.
Words mean what they would as a caption: prefer a short noun phrase ("a red chair") to a question.
`describe`, `classify` and `thumbnail` take a path that `search` returned, or that of a file in one of the folders \
that `stats` lists; a relative path is looked up in these folders. Nothing is ever written, indexed or sent anywhere."""

_PathField = Annotated[
    str, Field(description="A path that search returned, or of a file in one of the folders that stats lists.")
]


class QueryTerm(BaseModel, extra="forbid"):
    """One part of a sum: a text or a file, and how much it counts."""

    text: Annotated[str, Field(description="Words; never read as a path.")] = ""
    path: Annotated[str, Field(description="A file, instead of words.")] = ""
    weight: Annotated[float, Field(description="How much it counts; negative: less of this.", allow_inf_nan=False)] = 1


class Match(BaseModel):
    """A file that was found."""

    path: Annotated[str, Field(description="Absolute, or a URL.")]
    modality: Annotated[str, Field(description="The kind of file.")]
    score: Annotated[float, Field(description="What hits are ranked by; only comparable within one answer.")]
    confidence: Annotated[float, Field(description="Probability that no unrelated file scores as high, 0 to 1.")]
    e_value: Annotated[float, Field(description="How many unrelated files are expected to score as high.")]
    cosine: Annotated[float, Field(description="Raw cosine with the query, -1 to 1.")]
    words: Annotated[list[str], Field(description="Words nearest to the file, nearest first.")]
    start_s: Annotated[float | None, Field(description="Where the match begins in a file that lasts, in seconds.")]
    end_s: Annotated[float | None, Field(description="Where it ends.")]
    missing: Annotated[bool, Field(description="Whether the file was moved or deleted since it was indexed.")]


class Matches(BaseModel):
    """The files nearest to a query."""

    hits: Annotated[list[Match], Field(description="Best first, one for each file.")]
    likely: Annotated[bool, Field(description="Whether any hit is likely what was asked for (confidence >= 0.5).")]
    reading: Annotated[str, Field(description="How to read this answer, in one sentence.")]


class Word(BaseModel):
    """A word near to a file."""

    word: str
    cosine: Annotated[float, Field(description="Raw cosine of the word and the file, -1 to 1.")]


class Description(BaseModel):
    """The words nearest to a file."""

    path: str
    modality: str
    words: Annotated[list[Word], Field(description="Nearest first.")]


class LabelShare(BaseModel):
    """A label's share in a classification."""

    label: str
    probability: Annotated[float, Field(description="Share among the labels given; they always sum to 1.")]
    cosine: Annotated[float, Field(description="Raw cosine of label and file: whether the label fits at all.")]


class Classification(BaseModel):
    """How well each of the labels fits a file."""

    path: str
    modality: str
    predictions: Annotated[list[LabelShare], Field(description="Best first.")]


class Statistics(BaseModel):
    """What is in the index, and what may be read."""

    files: int
    rows: Annotated[int, Field(description="Vectors: of files, or of windows of files that last.")]
    modalities: Annotated[dict[str, int], Field(description="Kind of file -> number of files.")]
    space: Annotated[str, Field(description="The joint space of the vectors.")]
    folders: Annotated[list[str], Field(description="Folders whose files may be described, classified and shown.")]


class Tools:
    """The tools; each method's name, parameters and docstring are what an agent sees.

    Args:
        open_index: opens the index; called at the first call of a tool, so that a server starts at once.
        folders: whose files may be read besides those of the index.

    Raises:
        FileError: one of the folders is not there, or is a URL.
    """

    def __init__(self, open_index: Callable[[], Index], folders: Sequence[str | PathLike[str]] = ()):
        self._open_index, self._folders = open_index, [_folder(folder) for folder in folders]
        self._index: Index | None = None
        self._lock = threading.Lock()  # the SDK runs each call in a thread of its own

    def search(
        self,
        text: Annotated[str, Field(description="What to look for, in words. Never read as a path.")] = "",
        path: Annotated[str, Field(description="A file to find similar ones of, of any kind. May go with text.")] = "",
        terms: Annotated[
            list[QueryTerm], Field(description="More texts and files to add, or with weight < 0 to take away.")
        ] = [],  # noqa: B006  # pydantic copies it
        k: Annotated[int, Field(description="How many files at most.", ge=1, le=100)] = 10,
        modality: Annotated[str | None, Field(description="Only this kind of file, one of those of stats.")] = None,
        min_confidence: Annotated[
            float, Field(description="Leave out hits of less confidence; 0.5 leaves what is likely.", ge=0, le=1)
        ] = 0.0,
    ) -> Matches:
        """Find files of the index by words, by a file, or by a sum of both.

        A query needs `text`, `path` or `terms`; where several are given, they are added. "More like this picture, but
        at night and without people": path=the picture, terms=[{"text": "night"}, {"text": "people", "weight": -0.5}].
        """
        asked = [QueryTerm(text=text)] * bool(text) + [QueryTerm(path=path)] * bool(path) + terms
        if not asked:
            raise InputError("the query is empty", remedy="give text, path or terms")
        with self._reading() as index:
            query = [self._term(term, index) for term in asked]
            found = index.search(query, k, modality, min_confidence=min_confidence)
        hits = [
            Match(
                path=hit.path,
                modality=hit.modality,
                score=round(hit.score, 4),
                confidence=round(hit.confidence, 4),
                e_value=float(f"{hit.e_value:.3g}"),
                cosine=round(hit.cosine, 4),
                words=list(hit.words),
                start_s=None if hit.start_s is None else round(hit.start_s, 3),
                end_s=None if hit.end_s is None else round(hit.end_s, 3),
                missing=hit.missing,
            )
            for hit in found
        ]
        likely = any(hit.confidence >= LIKELY for hit in found)
        return Matches(hits=hits, likely=likely, reading=_reading_of(len(hits), likely, min_confidence))

    def describe(
        self,
        path: _PathField,
        k: Annotated[int, Field(description="How many words.", ge=1, le=100)] = 10,
    ) -> Description:
        """The words nearest to a file, with their cosines: what it looks or sounds like.

        They are the nearest of a fixed list of words; the first ones are a guess, not a caption.
        """
        with self._reading() as index:
            embedding = self._embedding(path, index)
            words = index.describe(embedding, k)
        return Description(
            path=embedding.ids[0],
            modality=embedding.modality,
            words=[Word(word=word, cosine=round(cosine, 4)) for word, cosine in words],
        )

    def classify(
        self,
        path: _PathField,
        labels: Annotated[
            list[str], Field(description="Different words or phrases to choose from.", min_length=1, max_length=1000)
        ],
    ) -> Classification:
        """Which of several labels fits a file best, with probabilities.

        The probabilities sum to 1 over the labels given, so that one of them wins even where none fits: give enough
        alternatives, and look at the cosines.
        """
        from clipx.zeroshot import ZeroShotClassifier

        with self._reading() as index:
            found = self._find(path, index)
            encoder = _encoder(found, index)
            classifier = ZeroShotClassifier(index.space, labels, encoder.prompts)
            embedding = found if not isinstance(found, Path) else _encode(found, encoder, classifier)
            (predictions,) = classifier.predict(embedding)
        return Classification(
            path=embedding.ids[0],
            modality=embedding.modality,
            predictions=[
                LabelShare(label=one.label, probability=round(one.probability, 4), cosine=round(one.cosine, 4))
                for one in predictions
            ],
        )

    def thumbnail(self, path: _PathField) -> Image:
        """A small picture of a file, as the space sees it: a photo, the views of a 3D shape, a drawing."""
        from clipx.index.thumbnail import thumbnail

        with self._reading() as index:
            found = self._find(path, index)
            if isinstance(found, Path):
                encoder = _encoder(found, index)
                picture = thumbnail(encoder, encoder.load(found))
            else:
                picture = index.thumbnails(found.ids).get(found.ids[0])
        if picture is None:
            raise InputError("there is no picture of this file", where=_shown(path))
        return Image(data=picture, format="jpeg")

    def stats(self) -> Statistics:
        """What the index holds, and the folders whose files may be given as a path."""
        with self._reading() as index:
            known = index.stats()
        fields = {name: known[name] for name in ("files", "rows", "modalities", "space")}
        return Statistics(**fields, folders=self._folders)

    # The index --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Index]:
        """The index, for one call at a time."""
        with self._lock:
            if self._index is None:
                self._index = self._open_index()
            yield self._index

    def _term(self, term: QueryTerm, index: Index) -> Term:
        if bool(term.text) == bool(term.path):
            raise InputError("a term is either a text or a path", where="terms", remedy="give one of them")
        return Term(term.text if term.text else self._embedding(term.path, index), term.weight)

    def _embedding(self, path: str, index: Index) -> Embedding:
        """The vector of a file that may be read, as it is stored, or else encoded now."""
        found = self._find(path, index)
        return _encode(found, _encoder(found, index)) if isinstance(found, Path) else found

    # Paths ------------------------------------------------------------------------------------------------------------

    def _find(self, path: str, index: Index) -> Embedding | Path:
        """What is stored of a file of the index, or the file itself, if it lies in one of the folders.

        Raises:
            InputError: neither; its message is the same whether there is such a file elsewhere or not.
        """
        if path and "\0" not in path and is_utf8(path):
            names = self._names(path)
            for name in names:
                if (stored := index.embedding_of(name)) is not None:
                    return stored
            for name in names:
                real = os.path.realpath(name)
                if not is_url(name) and is_under(real, self._folders) and os.path.isfile(real):
                    return Path(real)
        what = "is not a file of the index, nor of a folder that may be read"
        remedy = "give a path that search returned, or of a file in a folder that stats lists"
        raise InputError(what, where=_shown(path), remedy=remedy)

    def _names(self, path: str) -> list[str]:
        """The absolute paths that a path may stand for, or a URL. A relative path is one in each of the folders."""
        if is_url(path):
            try:
                return [absolute(path)]
            except ClipxError:  # it holds a password
                return []
        whole = os.path.expanduser(path)
        return [whole] if os.path.isabs(whole) else [os.path.join(folder, path) for folder in self._folders]


def server(open_index: Callable[[], Index], folders: Sequence[str | PathLike[str]] = ()) -> MCPServer[Any]:
    """An MCP server with the tools search, describe, classify, thumbnail and stats; ``server(...).run("stdio")``.

    Args:
        open_index: opens the index, at the first call of a tool.
        folders: whose files may be read besides those of the index.

    Raises:
        FileError: one of the folders is not there, or is a URL.
    """
    tools = Tools(open_index, folders)
    made = _Server("clipx", instructions=INSTRUCTIONS, version=clipx.__version__, log_level="WARNING")
    titled: dict[str, Callable[..., Any]] = {
        "Search files by meaning": tools.search,
        "Words nearest to a file": tools.describe,
        "Choose among labels": tools.classify,
        "Small picture of a file": tools.thumbnail,
        "What is in the index": tools.stats,
    }
    for title, tool in titled.items():
        about = ToolAnnotations(
            title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        )
        made.add_tool(tool, title=title, description=_paragraphs(tool), annotations=about)
    return made


class _Server(MCPServer[Any]):
    """Errors of clipx and of the arguments are one line, which says what was wrong."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None) -> Any:
        tool = next((one for one in await self.list_tools() if one.name == name), None)
        known = [] if tool is None else list(tool.input_schema.get("properties", {}))
        if tool is not None and (unknown := sorted(set(arguments) - set(known))):
            raise ToolError(_line(f"{name} has no parameter {unknown[0]!r}; known: {', '.join(known) or 'none'}"))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                raise ToolError(_line(_faults(cause))) from cause
            if isinstance(cause, ClipxError):
                raise ToolError(_line(str(cause))) from cause
            raise


def _faults(error: ValidationError) -> str:
    """What is wrong with the arguments: ``k: Input should be less than or equal to 100``."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


def _line(text: str) -> str:
    """One line that can be sent: what has no UTF-8 is escaped."""
    return " ".join(text.encode(errors="backslashreplace").decode().split())


def _shown(path: str) -> str:
    """A path as an error names it."""
    return repr(path) if not path else path if len(path) <= SHOWN else f"{path[:SHOWN]}..."


def _folder(folder: str | PathLike[str]) -> str:
    """A folder that may be read, without links."""
    if is_url(folder):
        raise FileError("is a URL", where=folder, remedy="index it; files of the index may be read in any case")
    real = os.path.realpath(Path(folder).expanduser())
    if not os.path.isdir(real):
        raise FileError("is not a folder", where=folder)
    return real


def _encoder(found: Embedding | Path, index: Index) -> Modality:
    """The modality of a file, set as in the index."""
    from clipx.registry import modality_of

    return index.encoder(modality_of(found) if isinstance(found, Path) else found.modality)


def _encode(path: Path, encoder: Modality, classifier: Any = None) -> Embedding:
    """The vector of a file; of a modality that depends on the labels, as this classifier asks for."""
    from clipx.modality import bound
    from clipx.pipeline import embedding_of, encode_all, file_items

    asked = encoder if classifier is None else bound(encoder, classifier)
    return embedding_of(encode_all(file_items([path]), asked), asked)


def _reading_of(count: int, likely: bool, min_confidence: float) -> str:
    """How an answer is to be read."""
    if likely:
        return "Hits with a confidence of 0.5 or more are likely what was asked for; those below are only the nearest."
    if count:
        return "Nothing here matches: no hit has a confidence of 0.5 or more, and these are only the nearest files."
    return "Nothing here matches" + (f": no file has a confidence of {min_confidence:g}." * bool(min_confidence) or ".")


def _paragraphs(tool: Callable[..., Any]) -> str:
    """A docstring, each paragraph in a line."""
    return "\n\n".join(" ".join(part.split()) for part in (tool.__doc__ or "").split("\n\n"))
