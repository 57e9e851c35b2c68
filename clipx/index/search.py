"""Searching a collection: what a query's terms are, which rows are scored, and the hits with their confidences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipx.errors import InputError
from clipx.index.arrays import by_code, evenly_spaced, largest
from clipx.index.collection import EXACT_ROWS, Collection
from clipx.index.null_model import NullModel, confidence
from clipx.index.query import Queries, Term, parse, require_terms
from clipx.index.ranking import FACTORIES, RANKINGS, Ranking, choose_ranking
from clipx.index.remote import is_missing
from clipx.index.scan import absolute, name_of
from clipx.index.snapshot import SEARCHED, Snapshot, items_of
from clipx.index.store import ROW_ID
from clipx.index.vocabulary import SparseItems
from clipx.pipeline import FileItem

if TYPE_CHECKING:
    import pyarrow as pa

    from clipx.embedding import Embedding

LIKELY = 0.5  # the confidence from which a hit is likely what was looked for
QUERIES = 256  # unrelated queries that the null distribution is estimated from, at most
FEW = 64  # files of a modality, from which they are unrelated queries of their own kind
WORDS_SHOWN = 3  # of a hit

DECIMALS = 6  # of the scores of rows that are not in the snapshot
RETRIES = 10  # where another process writes between the steps of a search
TEXT = "text"  # the kind of a term that is no file
Recipe = tuple[tuple[str, float], ...]
"""The kinds of a query's terms and their weights."""


@dataclass(frozen=True)
class Hit:
    """One file that a search found.

    Args:
        path: absolute, or a URL.
        modality: what read it.
        score: what hits are ranked by, at most 1, see ``clipx.index.ranking``.
        confidence: the probability that no unrelated item would have scored as high, in [0, 1]: exp(-e_value).
        e_value: how many unrelated items are expected to score as high, see ``clipx.index.null_model``.
        cosine: raw cosine with the query, in [-1, 1].
        words: the words nearest to the item, nearest first.
        start_s, end_s: the place in a file that lasts, in seconds; None elsewhere.
        rank: 1 for the best.
        missing: whether the file is no longer where it was when it was indexed; a URL is not looked up.
    """

    path: str
    modality: str
    score: float
    confidence: float
    e_value: float
    cosine: float
    words: tuple[str, ...]
    start_s: float | None
    end_s: float | None
    rank: int
    missing: bool = False


@dataclass(frozen=True, eq=False)
class EncodedTerm:
    """One part of a query as a vector.

    Args:
        kind: its modality, or ``"text"``.
        vector: (D,), a unit vector.
        weight: in [-1, 1]; the largest of a query is 1 or -1.
    """

    kind: str
    vector: np.ndarray
    weight: float


class Searcher:
    """Searches a collection, and keeps the rankings and the null model of its present state.

    Args:
        collection: what is searched.
    """

    def __init__(self, collection: Collection):
        self._collection = collection
        self._null_models: dict[tuple[Recipe, str, str], NullModel] = {}  # the last one
        self._rankings: dict[tuple[str, str], Ranking] = {}  # of the last state

    def search(
        self,
        query: str | PathLike[str] | Embedding | Sequence[Term],
        k: int,
        modality: str | None,
        sql: str | None,
        min_confidence: float,
        exact: bool,
        ranking: str,
    ) -> list[Hit]:
        """See ``Index.search``."""
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        if not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence must lie in [0, 1], got {min_confidence}")
        if ranking not in RANKINGS:
            raise InputError(f"ranking must be one of {', '.join(RANKINGS)}, got {ranking!r}")
        snapshot = self._collection.snapshot()
        terms = self.encode_terms(query, snapshot)
        rows = self._selected(snapshot, modality, sql)
        for _ in range(RETRIES if sql is not None else 0):  # a write may give the ids that were selected to other rows
            if self._collection.store.state() == snapshot.state:
                break
            snapshot = self._collection.snapshot()
            rows = self._selected(snapshot, modality, sql)
        searched = self._counts(snapshot, rows, modality, sql)
        ranked = self._ranking(ranking, snapshot, len(searched))
        question = self._question(terms, snapshot, ranked)
        if not searched:
            return []
        null = self._null_model(_recipe(terms), snapshot, ranked)
        best: list[_Scored] = []
        for block in self._blocks(snapshot, rows, question, ranked, k, sql, exact, searched):
            scores = block.ranking.scores(question, block.rows)[0]
            if not block.ordered:  # a product of other shape rounds otherwise, and copies of a file must stay equal
                scores = scores.round(DECIMALS)
            kept = None
            if min_confidence > 0:  # before the k best are taken: each modality has a null distribution of its own
                kept = _confident(scores, block.codes, null, searched, min_confidence)
            best = _merged(best, block.best(scores, kept, k), k)
        scores, codes = np.array([one.score for one in best], np.float32), np.array([one.code for one in best], int)
        e_values = np.zeros(len(best))
        for code, own in by_code(codes):
            e_values[own] = null.e_values(scores[own], code, searched[code], len(searched))
        ranked_best = enumerate(zip(best, e_values.tolist(), confidence(e_values).tolist(), strict=True), 1)
        return [self._hit(one, rank, question, e_value, sure) for rank, (one, e_value, sure) in ranked_best]

    def _hit(self, one: _Scored, rank: int, question: Queries, e_value: float, sure: float) -> Hit:
        words = self._collection.vocabulary.words
        return Hit(
            path=one.path,
            modality=one.modality,
            score=one.score,
            confidence=sure,
            e_value=e_value,
            cosine=float(one.vector @ question.vectors[0]),
            words=tuple(words[i] for i in one.words),
            start_s=one.start_s,
            end_s=one.end_s,
            rank=rank,
            missing=is_missing(one.path),
        )

    def describe(self, query: str | PathLike[str] | Embedding | Sequence[Term], k: int) -> list[tuple[str, float]]:
        """See ``Index.describe``."""
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        terms, vocabulary = self.encode_terms(query, self._collection.snapshot()), self._collection.vocabulary
        total = np.zeros(self._collection.meta.space.dim, np.float32)
        for term in terms:
            total += term.weight * term.vector
        _require_direction(total)
        cosines = vocabulary.vectors @ (total / np.linalg.norm(total))
        best = np.argsort(-cosines, kind="stable")[:k]
        return [(vocabulary.words[i], float(cosines[i])) for i in best.tolist()]

    # The query --------------------------------------------------------------------------------------------------------

    def encode_terms(
        self, query: str | PathLike[str] | Embedding | Sequence[Term], snapshot: Snapshot
    ) -> list[EncodedTerm]:
        """The terms of a query, encoded; a file of the index is read by the modality that read it then."""
        terms = _terms(query)
        encoded = [(*self._encode(term, snapshot), term.weight) for term in terms]
        heaviest = max(abs(weight) for _, _, weight in encoded)
        return [EncodedTerm(kind, vector, weight / heaviest) for kind, vector, weight in encoded]

    def _encode(self, term: Term, snapshot: Snapshot) -> tuple[str, np.ndarray]:
        """The kind of a term, and its (D,) unit vector."""
        from clipx.embedding import Embedding
        from clipx.registry import modality_of

        if isinstance(term.content, Embedding):
            if term.content.space_id != self._collection.meta.space.id:
                raise self._collection.mismatch(term.content.space_id)
            if len(term.content) != 1:
                raise InputError(f"a query is one vector, got {len(term.content)}")
            return term.content.modality, term.content.vectors[0]
        if not isinstance(term.content, str):
            item = FileItem(str(term.content), term.content) if isinstance(term.content, Path) else term.content
            name = term.modality or self._owner(absolute(item.id), snapshot) or modality_of(name_of(item.id))
            encoder = self._collection.encoder(name)
            here = item.fetched()  # until its sample is encoded, which may read it once more
            return encoder.name, encoder.encode([here.load(encoder)]).vectors[0]
        space = self._collection.space
        space.require_words([term.content])
        return TEXT, space.encode_text([term.content])[0]

    def modality_of(self, path: str) -> str | None:
        """The modality that a file of the index was read by, whatever others read its tracks; None for another file."""
        return self._owner(path, self._collection.snapshot())

    def _owner(self, path: str, snapshot: Snapshot) -> str | None:
        if not snapshot.sampled:
            return snapshot.modality_of(path)
        rows = self._collection.store.scan(["modality"], path=[path], window=[0])
        return next(iter(rows["modality"].to_pylist()), None)

    def _question(self, terms: Sequence[EncodedTerm], snapshot: Snapshot, ranked: Ranking) -> Queries:
        vectors = np.stack([term.vector for term in terms])[:, None]  # (terms, 1, D)
        question = self._queries(vectors, _recipe(terms), snapshot, ranked)
        _require_direction(question.vectors)
        return question

    def _queries(self, terms: np.ndarray, recipe: Recipe, snapshot: Snapshot, ranked: Ranking) -> Queries:
        """(T, Q, D) unit rows of the kinds of a recipe -> Q queries."""
        vocabulary, means = self._collection.vocabulary, None
        if ranked.means is not None:
            mean_of = dict(zip(snapshot.modality_names, ranked.means, strict=True))
            mean_of[TEXT] = vocabulary.vectors.mean(0)
            zeros = np.zeros(terms.shape[2], np.float32)
            means = np.stack([mean_of.get(kind, zeros) for kind, _ in recipe])
        return Queries(vocabulary, terms, [weight for _, weight in recipe], means)

    # Scores -----------------------------------------------------------------------------------------------------------

    def _ranking(self, name: str, snapshot: Snapshot, searched: int) -> Ranking:
        """The ranking of a search of so many modalities."""
        own_words = self._collection.vocabulary.own
        key = (choose_ranking(name, own_words, searched), snapshot.state)
        if key not in self._rankings:
            modalities = len(snapshot.modality_names)
            ranked = FACTORIES[key[0]](snapshot.items, snapshot.modalities, modalities, own_words)
            self._rankings = {kept: value for kept, value in self._rankings.items() if kept[1] == snapshot.state}
            self._rankings[key] = ranked
        return self._rankings[key]

    def _null_model(self, recipe: Recipe, snapshot: Snapshot, ranked: Ranking) -> NullModel:
        """How unrelated queries of that recipe score on this state of the index."""
        key = (recipe, snapshot.state, ranked.name)
        if key not in self._null_models:
            vocabulary, items = self._collection.vocabulary, snapshot.items
            first = snapshot.first_of_tracks  # one window asks for all of what lasts
            drawn, own_files = [], np.empty(0)
            for turn, (kind, _) in enumerate(recipe):
                own = np.flatnonzero(snapshot.of_modality(kind) & first)
                words = len(own) < FEW  # they stand in for what is rare or not there
                some = evenly_spaced(len(vocabulary.words), QUERIES) if words else own[evenly_spaced(len(own), QUERIES)]
                steps = np.arange(len(some) if len(recipe) == 1 else QUERIES) * (2 * turn + 1)
                some = some[steps % len(some)]  # in another order for each term: they are of different things
                drawn.append((vocabulary.vectors if words else items.vectors)[some])
                if not turn:
                    own_files = np.full(len(some), -1) if words else snapshot.files[some]
            queries = self._queries(np.stack(drawn), recipe, snapshot, ranked)
            null = NullModel(ranked, vocabulary, queries, items, snapshot.modalities, snapshot.files, own_files)
            self._null_models = {key: null}
        return self._null_models[key]

    # Rows -------------------------------------------------------------------------------------------------------------

    def _selected(self, snapshot: Snapshot, modality: str | None, where: str | None) -> np.ndarray | None:
        """Positions of the rows to score of modalities that are not sampled, or None for all rows."""
        chosen = ~snapshot.of_sampled if snapshot.sampled else None
        if modality is not None:
            own = snapshot.of_modality(modality)
            if not own.any() and len(snapshot):
                names = ", ".join(snapshot.modality_names)
                raise InputError(f"no file of modality {modality!r} in the index", remedy=f"it holds: {names}")
            chosen = own if chosen is None else chosen & own
        if where is not None:
            filtered = np.isin(snapshot.row_ids, self._collection.store.filter(where))
            chosen = filtered if chosen is None else chosen & filtered
        return None if chosen is None else np.flatnonzero(chosen)

    def _counts(
        self, snapshot: Snapshot, rows: np.ndarray | None, modality: str | None, where: str | None
    ) -> dict[int, int]:
        """Code of a modality -> how many of its rows are searched, for those that have any."""
        if rows is None:
            return {code: snapshot.counts[name][1] for code, name in enumerate(snapshot.modality_names)}
        found = dict(enumerate(np.bincount(snapshot.modalities[rows]).tolist()))
        for name, (_, count) in snapshot.sampled.items():
            if modality in (None, name):
                if where is not None:
                    count = sum(map(len, self._collection.store.batches([ROW_ID], name, where)))
                found[snapshot.modality_names.index(name)] = count
        return {code: count for code, count in found.items() if count}

    def _blocks(
        self,
        snapshot: Snapshot,
        rows: np.ndarray | None,
        question: Queries,
        ranked: Ranking,
        k: int,
        where: str | None,
        exact: bool,
        searched: Mapping[int, int],
    ) -> Iterator[_Block]:
        """What is scored: rows of the snapshot, and of each sampled modality those proposed, or all where few."""
        if rows is None or len(rows):
            codes = snapshot.modalities if rows is None else snapshot.modalities[rows]
            yield _Block(ranked, snapshot.items, snapshot.columns, codes, rows, ordered=True)
        for name in snapshot.sampled:
            code = snapshot.modality_names.index(name)
            if code in searched:
                for table in self._proposed(name, snapshot, question, ranked, k, where, exact, searched[code]):
                    items, codes = items_of(table), np.full(len(table), code)
                    yield _Block(ranked.over(items, codes), items, table, codes)

    def _proposed(
        self,
        name: str,
        snapshot: Snapshot,
        question: Queries,
        ranked: Ranking,
        k: int,
        where: str | None,
        exact: bool,
        searched: int,
    ) -> Iterator[pa.Table]:
        """Rows of a sampled modality that may be among the ``k`` best; all where the approximate index is no help."""
        store, meta, (files, rows) = self._collection.store, self._collection.meta, snapshot.sampled[name]
        only, count = name if len(snapshot.modality_names) > 1 else None, ranked.proposals(k)
        while not exact and searched > EXACT_ROWS and count < searched:
            # the effort was measured for ten hits among all rows: those of a part, or more of them, lie farther out
            scale = (rows / searched) * max(1, count / ranked.proposals(10))
            effort = math.ceil(meta.efforts.get(name, meta.cells or 1) * scale)
            found = store.nearest(ranked.probes(question), count, effort, SEARCHED, only, where)
            if len(found) < count:
                break
            if len(set(found["path"].to_pylist())) >= min(k, files):
                yield found
                return
            count *= 4  # the windows of few files
        yield from store.batches(SEARCHED, name, where)


@dataclass(frozen=True, eq=False)
class _Block:
    """Rows that are scored together.

    Args:
        ranking: of ``items``.
        items: with the vectors and words of the rows.
        columns: with their path, modality, start_s and end_s.
        codes: (R,) of the modalities of the rows.
        rows: (R,) positions among the items; None: all.
        ordered: whether the items are in the order of their paths and windows.
    """

    ranking: Ranking
    items: SparseItems
    columns: pa.Table
    codes: np.ndarray
    rows: np.ndarray | None = None
    ordered: bool = False

    def best(self, scores: np.ndarray, kept: np.ndarray | None, k: int) -> list[_Scored]:
        """The ``k`` best of (R,) scores, one for each path; of equal ones the earlier. ``kept``: only these of them."""
        if kept is not None:
            scores = scores[kept]
        path, *about = (self.columns[name] for name in ("path", "modality", "start_s", "end_s"))
        wanted = min(len(scores), k)
        while wanted:  # a file of many windows may take many places
            top = self._largest(scores, kept, wanted)
            places = top if kept is None else kept[top]
            rows = (places if self.rows is None else self.rows[places]).tolist()
            found: dict[str, _Scored] = {}
            for score, code, row in zip(scores[top].tolist(), self.codes[places].tolist(), rows, strict=True):
                name = path[row].as_py()
                if name not in found:
                    vector, words = self.items.vectors[row].copy(), self.items.words[row, :WORDS_SHOWN].tolist()
                    found[name] = _Scored(score, name, code, vector, words, *(column[row].as_py() for column in about))
            if len(found) >= k or wanted == len(scores):
                return list(found.values())[:k]
            wanted = min(len(scores), 4 * wanted)
        return []

    def _largest(self, scores: np.ndarray, kept: np.ndarray | None, count: int) -> np.ndarray:
        """Positions of the ``count`` largest scores, largest first; of equal ones those of the first paths."""
        top = largest(scores, count)
        least = scores[top].min()
        equal = np.flatnonzero(scores == least)
        if len(equal) > np.count_nonzero(scores[top] == least):  # more than there is room for
            top = np.concatenate([top[scores[top] > least], equal])
        places = top if kept is None else kept[top]
        rows = places if self.rows is None else self.rows[places]
        if self.ordered:
            return top[np.lexsort((rows, -scores[top]))[:count]]
        names = [(self.columns["path"][row].as_py(), self.columns["window"][row].as_py()) for row in rows.tolist()]
        order = sorted(range(len(top)), key=lambda i: (-scores[top[i]], names[i]))
        return top[order[:count]]


@dataclass(frozen=True, eq=False)
class _Scored:
    """A row, its score, and the code of its modality; a copy, so that the block it is of need not stay in memory."""

    score: float
    path: str
    code: int
    vector: np.ndarray
    words: list[int]
    modality: str
    start_s: float | None
    end_s: float | None


def _merged(one: list[_Scored], other: list[_Scored], k: int) -> list[_Scored]:
    """The ``k`` best of two lists, one for each path."""
    if not one:
        return other
    best: dict[str, _Scored] = {}
    for scored in sorted(one + other, key=lambda scored: (-scored.score, scored.path)):
        best.setdefault(scored.path, scored)
    return list(best.values())[:k]


def _confident(
    scores: np.ndarray, codes: np.ndarray, null: NullModel, searched: Mapping[int, int], least: float
) -> np.ndarray:
    """Positions of the scores of at least this confidence."""
    kept = [
        own[confidence(null.e_values(scores[own], code, searched[code], len(searched))) >= least]
        for code, own in by_code(codes)
    ]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)


def _require_direction(vectors: np.ndarray) -> None:
    """Raise InputError where terms cancel each other out."""
    if not vectors.any():
        raise InputError("the terms cancel each other out", where="query")


def _terms(query: str | PathLike[str] | Embedding | Sequence[Term]) -> Sequence[Term]:
    """What was asked for, as terms."""
    from clipx.embedding import Embedding

    if isinstance(query, str):
        return parse(query)
    if isinstance(query, PathLike):
        return [Term(Path(query))]
    terms = [Term(query)] if isinstance(query, Embedding) else query
    require_terms(terms)
    return terms


def _recipe(terms: Sequence[EncodedTerm]) -> Recipe:
    return tuple((term.kind, term.weight) for term in terms)
