"""What the page asks for, done with an index and a space; every method may be called from any thread."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import clipx.serve.schemas as schemas
from clipx.embedding import Embedding
from clipx.errors import ClipxError, InputError
from clipx.index import Hit, Index
from clipx.index.query import Term
from clipx.index.remote import is_missing, is_url, item_of
from clipx.index.scan import inside
from clipx.index.search import LIKELY
from clipx.index.thumbnail import thumbnail
from clipx.serve.items import Item, Names
from clipx.serve.security import Refused
from clipx.serve.uploads import HEAD_BYTES, Upload, Uploads, shown, suffix_by_content

if TYPE_CHECKING:
    from clipx.modality import Modality, Shape
    from clipx.space import JointSpace

WORDS_SHOWN = 5  # of an upload
TEXTS_KEPT = 256  # vectors of texts
THUMBNAILS_KEPT = 2000
PICTURE_PX = 1600  # longer side of a picture on the page
PEAKS = 240  # of a waveform
LONGEST_S = 600.0  # of a sound that is converted for browsers
SHAPE_POINTS = SHAPE_TRIANGLES = 200_000
FOLDERS_SHOWN = 500
LOADING_S = 300.0  # how long a request waits for the space

Loader = Callable[[], tuple["JointSpace", Index | None]]


class Service:
    """An index and its space behind locks.

    Args:
        load: opens both; it is called once, in a thread. The index is None where there is none yet.
        name: of the index, for people.
    """

    def __init__(self, load: Loader, name: str = "index"):
        self.name, self.names, self.uploads = name, Names(), Uploads()
        self.error: str | None = None
        self._load, self._ready = load, threading.Event()
        self._space: JointSpace | None = None
        self._index: Index | None = None
        self._searching, self._encoding, self._seeing = threading.Lock(), threading.Lock(), threading.Lock()
        self._reading = threading.Lock()  # of texts, which must not wait for a long file
        self._texts: OrderedDict[str, Embedding] = OrderedDict()
        self._thumbnails: OrderedDict[str, bytes | None] = OrderedDict()
        self._encoders: dict[str, Modality] = {}
        self._folders: tuple[str, list[schemas.IndexedFolder]] | None = None
        self._started = False

    # The index and the space ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the space and the index in the background; whoever needs them calls this, so it may be called again."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._open, name="clipx-load", daemon=True).start()

    def close(self) -> None:
        """Delete the uploads."""
        self.uploads.close()

    def _open(self) -> None:
        try:
            self._space, self._index = self._load()
            if self._index is not None:  # the first search loads what later ones find in memory
                self._index.search([Term(self._any_text(self._space))], 1)
        except ClipxError as error:
            self.error = str(error)
        except Exception as error:  # a fault of ours or of a library: the page shows it
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self._ready.set()

    @staticmethod
    def _any_text(space: JointSpace) -> Embedding:
        known = ["photo"] if space.vocabulary is None else list(space.vocabulary.words)[:1]
        return Embedding(space.encode_text(known), space.id, "text")

    @property
    def ready(self) -> bool:
        """Whether the space is loaded, or cannot be."""
        return self._ready.is_set()

    @property
    def space(self) -> JointSpace:
        """The space, once it is loaded. Raises Refused where it cannot be."""
        self.start()
        if not self._ready.wait(LOADING_S):
            raise Refused(503, "the space is still loading")
        if self._space is None:
            raise Refused(503, self.error or "the space could not be loaded")
        return self._space

    @property
    def index(self) -> Index:
        """The index. Raises Refused where there is none."""
        if (found := self.index_or_none) is None:
            raise Refused(409, "there is no index yet: index a folder first")
        return found

    @property
    def index_or_none(self) -> Index | None:
        """The index, or None; waits for the space."""
        return self._index if self.space else None

    def use_index(self, index: Index) -> None:
        """Search this index from now on."""
        with self._searching, self._seeing:
            self._index, self._folders, self._encoders = index, None, {}
            self._thumbnails.clear()

    def about(self) -> dict[str, Any]:
        """The index, the space and its folders, as ``schemas.About`` has them."""
        self.start()
        if not self.ready or self._space is None:
            return {"index": None, "space": None, "folders": [], "ready": self.ready, "error": self.error}
        record, folders = None, []
        if self._index is not None:
            with self._searching:
                counts = self._index.counts()
            folders = self._indexed_folders(self._index)
            record = {"name": self.name, "files": sum(counts.values()), "modalities": dict(sorted(counts.items()))}
        space = {"name": self._space.name, "id": self._space.id}
        return {"index": record, "space": space, "folders": folders, "ready": True, "error": None}

    def _indexed_folders(self, index: Index) -> list[schemas.IndexedFolder]:
        """The folders that hold indexed files themselves, those of the most files where they are many."""
        state = index.store.state()
        if self._folders is not None and self._folders[0] == state:
            return self._folders[1]
        counts: dict[str, int] = {}
        for table in index.store.batches(["path"], where="window = 0"):
            for path in table["path"].to_pylist():
                folder = _parted(path)[0]
                counts[folder] = counts.get(folder, 0) + 1
        for folder in sorted(counts, key=len, reverse=True):  # each counts what is below it, as the filter does
            above = _parted(folder)[0]
            while above and above not in counts:
                above = _parted(above)[0]
            if above:
                counts[above] += counts[folder]
        most = sorted(sorted(counts, key=lambda folder: -counts[folder])[:FOLDERS_SHOWN])
        found = [
            schemas.IndexedFolder(
                id=self.names.give(Item(folder)), name=_parted(folder)[1] or folder, path=folder, files=counts[folder]
            )
            for folder in most
        ]
        self._folders = (state, found)
        return found

    # Search -----------------------------------------------------------------------------------------------------------

    def terms(self, asked: schemas.SearchRequest) -> tuple[list[Term], schemas.QueryRecord]:
        """The terms of a request, their vectors known, and how long that took."""
        begun = time.perf_counter()
        terms = [self._term(term) for term in asked.terms]
        return terms, schemas.QueryRecord(encode_ms=_ms(time.perf_counter() - begun))

    def search(
        self, terms: Sequence[Term], asked: schemas.SearchRequest
    ) -> tuple[list[schemas.HitRecord], schemas.EndRecord]:
        """The hits, best first, and what is said of them."""
        index, where, begun = self.index, self._where(asked), time.perf_counter()
        kinds = asked.modalities
        only = kinds[0] if kinds is not None and len(kinds) == 1 else None  # which is faster than the same in SQL
        with self._searching:
            known = only is None or only in index.counts()
            hits = index.search(terms, asked.k, only, where, asked.min_confidence) if known else []
        took, likely = time.perf_counter() - begun, any(hit.confidence >= LIKELY for hit in hits)
        end = schemas.EndRecord(count=len(hits), likely=likely, search_ms=_ms(took))
        return [self._record(hit) for hit in hits], end

    def fetch_thumbnails(self, hits: Sequence[schemas.HitRecord]) -> None:
        """Read the thumbnails of hits at once; a request for one of them waits meanwhile."""
        with self._seeing:
            self._fetch_thumbnails(self.index, [self.names.item(hit.file).path for hit in hits])

    def _record(self, hit: Hit) -> schemas.HitRecord:
        folder, name = _parted(hit.path)
        return schemas.HitRecord(
            rank=hit.rank,
            file=self.names.give(Item(hit.path, hit.modality, hit.start_s, hit.end_s)),
            name=name,
            folder=folder,
            modality=hit.modality,
            score=hit.score,
            confidence=hit.confidence,
            e_value=hit.e_value,
            cosine=hit.cosine,
            words=list(hit.words),
            start_s=hit.start_s,
            end_s=hit.end_s,
            date=_changed(hit.path),
            missing=hit.missing,
            thumbnail=self._thumbnails.get(hit.path, b"") is not None,
        )

    def _where(self, asked: schemas.SearchRequest) -> str | None:
        """The filters of a request, in SQL."""
        parts = []
        if asked.modalities is not None and len(asked.modalities) != 1:
            parts.append(f"modality IN ({', '.join(map(_quoted, asked.modalities)) or _quoted('')})")
        if asked.folder is not None:
            parts.append(f"starts_with(path, {_quoted(inside(self.names.item(asked.folder).path))})")
        if asked.since is not None:
            parts.append(f"mtime_ns >= {_midnight_ns(asked.since)}")
        if asked.until is not None:
            parts.append(f"mtime_ns < {_midnight_ns(asked.until, 1)}")
        return " AND ".join(parts) or None

    def _term(self, asked: schemas.Term) -> Term:
        """A term of a request as one of the index, its vector known."""
        if (asked.text is None) == (asked.file is None):
            raise InputError("a term is a text or a file", where="query")
        if asked.text is not None:
            return Term(self.text(asked.text), asked.weight)
        return Term(self.embedding(asked.file or "", asked.start_s), asked.weight)

    def text(self, text: str) -> Embedding:
        """The vector of a text."""
        text = " ".join(text.split())
        if not text:
            raise InputError("a term has no text", where="query", remedy="write what to look for")
        space = self.space
        with self._reading:
            if (found := self._texts.get(text)) is None:
                space.require_words([text])
                found = Embedding(space.encode_text([text]), space.id, "text", [text])
                self._texts[text] = found
                if len(self._texts) > TEXTS_KEPT:
                    self._texts.popitem(last=False)
            return found

    def embedding(self, name: str, start_s: float | None = None) -> Embedding:
        """The vector of an upload, or of a file of the index at its place."""
        if (upload := self.uploads.get(name)) is not None:
            return upload.embedding
        item, index = self.names.item(name), self.index
        with self._searching:
            found = index.embedding_of(item.path, item.start_s if start_s is None else start_s, item.modality or None)
        if found is None:
            raise Refused(404, "this file is no longer in the index: search again")
        return found

    def words(self, name: str, k: int) -> list[schemas.Word]:
        """The words nearest to a file."""
        return self._nearest_words(self.embedding(name), k)

    def _nearest_words(self, embedding: Embedding, k: int) -> list[schemas.Word]:
        if (index := self.index_or_none) is None:
            return []
        with self._searching:
            return [schemas.Word(word=word, cosine=cosine) for word, cosine in index.describe(embedding, k)]

    def classify(self, name: str, labels: Sequence[str]) -> schemas.Classified:
        """The labels of a file by their probabilities."""
        from clipx.modality import bound
        from clipx.zeroshot import ZeroShotClassifier

        path, modality = self.place(name)
        with self._encoding:
            encoder = self._encoder(modality)
            classifier = ZeroShotClassifier(self.space, list(labels), encoder.prompts)
            tied = bound(encoder, classifier)
            embedding = self.embedding(name) if tied is encoder else tied.encode([self._sample(path, tied)])
            (found,) = classifier.predict(embedding)
        predictions = [
            schemas.Prediction(label=one.label, probability=one.probability, cosine=one.cosine) for one in found
        ]
        return schemas.Classified(modality=modality, predictions=predictions)

    # Files ------------------------------------------------------------------------------------------------------------

    def place(self, name: str) -> tuple[str, str]:
        """The path and the modality of an upload or an indexed file. Raises Refused for a folder."""
        if (upload := self.uploads.get(name)) is not None:
            return str(upload.path), upload.modality
        item = self.names.item(name)
        if not item.modality:
            raise Refused(404, "this is a folder")
        return item.path, item.modality

    def local(self, name: str) -> tuple[Path, str]:
        """As ``place``, of a file that is here. Raises Refused where it is gone or at a URL."""
        path, modality = self.place(name)
        if is_url(path):
            raise Refused(404, "it lies at a URL, and is not opened here")
        if is_missing(path):
            raise Refused(404, "the file is gone: moved or deleted since it was indexed")
        return Path(path), modality

    def upload(self, path: Path, name: str) -> schemas.FileRecord:
        """Take a file that was received: type it by its content, encode it, and keep it for a while.

        Raises:
            InputError, FileError: it is of no known kind, or cannot be read; it is deleted then.
        """
        try:
            with path.open("rb") as file:
                suffix = suffix_by_content(file.read(HEAD_BYTES), name)
            typed = path.with_name(path.name + suffix)
            path.rename(typed)
            path = typed
            return self._taken(path, shown(name))
        except ClipxError as error:
            path.unlink(missing_ok=True)
            raise type(error)(error.what, where=shown(name), remedy=error.remedy) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _taken(self, path: Path, name: str) -> schemas.FileRecord:
        from clipx.registry import modality_of

        modality = modality_of(path)
        with self._encoding:
            encoder = self._encoder(modality)
            sample = self._sample(str(path), encoder)
            embedding = encoder.encode([sample])
            small = thumbnail(encoder, sample)
        given = self.uploads.keep(Upload(path, name, modality, embedding, small))
        words = [word.word for word in self._nearest_words(embedding, WORDS_SHOWN)]
        return schemas.FileRecord(
            file=given,
            name=name,
            modality=modality,
            words=words,
            thumbnail=small is not None,
            preview=self.preview(given),
        )

    def thumbnail(self, name: str) -> bytes | None:
        """A JPEG of what the space looked at; None where there is none."""
        if (upload := self.uploads.get(name)) is not None:
            return upload.thumbnail
        path, index = self.place(name)[0], self.index
        if (seen := self._moment(name)) is not None:
            return seen
        with self._seeing:
            if path not in self._thumbnails:
                self._fetch_thumbnails(index, [path])
            return self._thumbnails.get(path)

    def _moment(self, name: str) -> bytes | None:
        """What a film shows at the place that was found; None for what is no film, or is not here."""
        item = self.names.item(name)
        if item.start_s is None or is_missing(item.path):
            return None
        return self.index.moment(item.path, item.start_s, item.end_s)

    def _fetch_thumbnails(self, index: Index, paths: Sequence[str]) -> None:
        """Read those that are not kept, all at once."""
        wanted = [path for path in paths if path not in self._thumbnails]
        found = index.thumbnails(wanted)
        for path in wanted:
            self._thumbnails[path] = found.get(path)
        while len(self._thumbnails) > THUMBNAILS_KEPT:
            self._thumbnails.popitem(last=False)

    def preview(self, name: str) -> schemas.Preview:
        """How a file is shown."""
        from clipx.films import KINDS
        from clipx.modality import ShowsPictures, ShowsShapes
        from clipx.sounds import is_sound, waveform

        self.place(name)  # raises for a name that is none
        try:
            path, modality = self.local(name)
            place = Item("") if self.uploads.get(name) else self.names.item(name)
            if is_sound(path):
                wave = waveform(path, place.start_s, PEAKS)
                return schemas.Preview(
                    kind="sound",
                    url=f"files/{name}/sound",
                    duration_s=wave.duration_s,
                    peaks=[round(float(peak), 3) for peak in wave.peaks],
                    wave_start_s=wave.start_s,
                    wave_end_s=wave.end_s,
                    start_s=place.start_s,
                    end_s=place.end_s,
                )
            if path.suffix.lower() in KINDS:
                return schemas.Preview(kind="film", url=f"files/{name}/film", start_s=place.start_s, end_s=place.end_s)
            encoder = self._encoder(modality)
            if isinstance(encoder, ShowsShapes):
                shape = encoder.shape(path)
                triangles = 0 if shape.triangles is None else len(shape.triangles)
                return schemas.Preview(
                    kind="shape", url=f"files/{name}/shape", points=len(shape.points), triangles=triangles
                )
            if isinstance(encoder, ShowsPictures):
                picture = self._picture(path, encoder)
                return schemas.Preview(
                    kind="picture", url=f"files/{name}/picture", width=picture.width, height=picture.height
                )
            return schemas.Preview(kind="none", reason="there is nothing to see or hear")
        except Refused as refused:
            return schemas.Preview(kind="none", reason=refused.line)
        except ClipxError as error:
            return schemas.Preview(kind="none", reason=error.what)
        except Exception as error:  # whatever soundfile trips over
            return schemas.Preview(kind="none", reason=f"cannot be read: {str(error)[:120]}")

    def picture(self, name: str) -> bytes:
        """A JPEG of a file, its longer side at most 1,600 pixels."""
        path, modality = self.local(name)
        file = io.BytesIO()
        self._picture(path, self._encoder(modality)).save(file, "JPEG", quality=88)
        return file.getvalue()

    def _picture(self, path: Path, encoder: Modality) -> Any:
        """A Pillow picture: the photo itself where the file is one, else what the space looks at."""
        from PIL import Image

        from clipx._arrays import no_grad
        from clipx.index.thumbnail import montage
        from clipx.modality import pictures_of
        from clipx.pictures import SUFFIXES, eight_bits, on_white, open_picture

        if path.suffix.lower() in SUFFIXES and path.suffix.lower() in encoder.suffixes:
            picture = on_white(eight_bits(open_picture(path, _fitted), path), path).convert("RGB")
            picture.thumbnail((PICTURE_PX, PICTURE_PX))
            return picture
        with self._encoding, no_grad():
            views = pictures_of(encoder, encoder.load(path))
        if views is None or not len(views):
            raise Refused(404, "there is nothing to see")
        shown_views = montage(views[:: max(1, len(views) // 4)][:4])
        return Image.fromarray((shown_views.transpose(1, 2, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8))

    def sound(self, name: str) -> tuple[Path, str] | bytes:
        """The file and its media type where browsers play it; else a WAV of at most ten minutes of it."""
        from clipx.sounds import KINDS, cut, is_sound

        path, _ = self.local(name)
        if (kind := KINDS.get(path.suffix.lower())) is not None:
            return path, kind
        if not is_sound(path):
            raise Refused(404, "this is no sound")
        return cut(path, 0.0, None, LONGEST_S)[0]

    def film(self, name: str) -> tuple[Path, str]:
        """The file and its media type, where browsers may play it."""
        from clipx.films import KINDS

        path, _ = self.local(name)
        if (kind := KINDS.get(path.suffix.lower())) is None:
            raise Refused(404, "this is no film that browsers play")
        return path, kind

    def shape(self, name: str) -> bytes:
        """A file's shape, see ``shape_bytes``."""
        from clipx.modality import ShowsShapes

        path, modality = self.local(name)
        encoder = self._encoder(modality)
        if not isinstance(encoder, ShowsShapes):
            raise Refused(404, "this is no shape")
        return shape_bytes(encoder.shape(path))

    def _encoder(self, modality: str) -> Modality:
        """A modality as the index has it set, or by default where there is no index."""
        from clipx.api import make_modality

        if (index := self.index_or_none) is not None:
            return index.encoder(modality)
        if modality not in self._encoders:
            self._encoders[modality] = make_modality(modality, self.space)
        return self._encoders[modality]

    def _sample(self, path: str, encoder: Modality) -> Any:
        return item_of(path).fetched().load(encoder)


def shape_bytes(shape: Shape) -> bytes:
    """A shape as the page reads it, in little-endian order.

    ``CXS1``, then as uint32 the numbers of points P and of triangles T and 1 where there are colours, then the points
    (P, 3) as float32, centred and inside the unit sphere, the colours (P, 4) as bytes, and the triangles (T, 3) as
    uint32. Of larger clouds every n-th point is kept, and of larger meshes every n-th triangle.
    """
    points, triangles, colors = shape.points, shape.triangles, shape.colors
    if triangles is not None and len(triangles):
        kept = triangles[:: -(-len(triangles) // SHAPE_TRIANGLES)]
        used, kept = np.unique(kept, return_inverse=True)
        triangles = kept.reshape(-1, 3)
    else:
        used, triangles = np.arange(0, len(points), -(-len(points) // SHAPE_POINTS)), np.zeros((0, 3), int)
    points = points[used].astype(np.float64)
    points = points - (points.min(0) + points.max(0)) / 2
    points /= max(np.linalg.norm(points, axis=1).max(), 1e-12)
    data = struct.pack("<4sIII", b"CXS1", len(points), len(triangles), int(colors is not None))
    data += points.astype("<f4").tobytes()
    if colors is not None:
        rgba = np.full((len(points), 4), 255, np.uint8)
        rgba[:, :3] = (colors[used].clip(0, 1) * 255 + 0.5).astype(np.uint8)
        data += rgba.tobytes()
    return data + triangles.astype("<u4").tobytes()


def _fitted(height: int, width: int) -> tuple[int, int]:
    """The size at which a picture is shown."""
    scale = min(1.0, PICTURE_PX / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _parted(path: str) -> tuple[str, str]:
    """The folder of a path and the name in it."""
    folder, _, name = path.rpartition("/" if is_url(path) else os.sep)
    return folder, name


def _quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _midnight_ns(day: date, later: int = 0) -> int:
    """When a day, or one so many days later, begins here, in nanoseconds since the epoch.

    Of years before 1678 and after 2261, whose nanoseconds 64 bits do not hold, those next to them are taken.
    """
    day = min(max(day, date(1678, 1, 1)), date(2261, 12, 31)) + timedelta(days=later)
    return round(datetime(day.year, day.month, day.day).astimezone().timestamp()) * 10**9


def _changed(path: str) -> str | None:
    """The day of a file's last change here; None of one that is gone or at a URL."""
    if is_url(path):
        return None
    try:
        return datetime.fromtimestamp(os.stat(path).st_mtime, UTC).astimezone().date().isoformat()
    except (OSError, ValueError, OverflowError):
        return None


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
