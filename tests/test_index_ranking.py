"""How hits are ranked, and their confidences: claims that hold at any size of an index."""

import numpy as np
import pytest

from clipx.errors import InputError
from clipx.index import Index
from clipx.index.arrays import unit
from clipx.index.cosine import CosineRanking
from clipx.index.described import DescribedRanking, mean_vectors
from clipx.index.null_model import NullModel, Tail, confidence
from clipx.index.query import Queries
from clipx.index.vocabulary import SparseItems, Vocabulary
from clipx.spaces.loading import load_space


def normal_scores(mean, deviation, queries=256, items=2048, seed=0):
    """Null scores as those of sentences and photos in a CLIP: a normal distribution far below 1."""
    return np.random.default_rng(seed).normal(mean, deviation, (queries, items)).astype(np.float32)


def tail_of(scores):
    return Tail.fit(scores, np.ones(scores.shape, bool))


@pytest.mark.parametrize(("mean", "deviation"), [(0.15, 0.03), (0.02, 0.06), (0.5, 0.08), (-0.1, 0.1)])
def test_at_ten_million_rows_the_best_is_confident_and_a_random_one_is_not(mean, deviation):
    tail, rows = tail_of(normal_scores(mean, deviation)), 10_000_000
    assert confidence(rows * tail.rate(np.array([1.0])))[0] > 0.999
    random = np.random.default_rng(1).normal(mean, deviation, rows).max()
    assert confidence(rows * tail.rate(np.array([random])))[0] < 0.9
    assert confidence(rows * tail.rate(np.array([mean + 3 * deviation])))[0] < 1e-6


def test_the_tail_beyond_the_pairs_is_that_of_the_distribution():
    """Rates of 1e-7 and 1e-8 from 500,000 pairs: conservative, and no more than tenfold."""
    from statistics import NormalDist

    tail = tail_of(normal_scores(0.15, 0.03))
    for deviations in (4.5, 5.0, 5.6):
        true = 1 - NormalDist().cdf(deviations)
        assert true / 2 < tail.rate(np.array([0.15 + deviations * 0.03]))[0] < 10 * true


def test_rates_fall_and_where_there_are_pairs_they_are_counted():
    scores = normal_scores(0.1, 0.05)
    tail = tail_of(scores)
    grid = np.linspace(-0.2, 1, 2000)
    rates = tail.rate(grid)
    assert (np.diff(rates) <= 1e-12).all() and rates[0] > 0.999 and rates[-1] == 0
    for score in (0.0, 0.1, 0.15):
        assert tail.rate(np.array([score]))[0] == pytest.approx((scores >= score).mean(), rel=0.01)


def test_few_independent_items_make_a_heavier_tail():
    """Twenty sounds tell less than two thousand: a score must be higher to be as unlikely."""
    few, many = (tail_of(normal_scores(0.1, 0.05, items=items)) for items in (20, 2048))
    score = np.array([0.1 + 5 * 0.05])
    assert few.rate(score)[0] > 1.5 * many.rate(score)[0]


def test_no_pairs_no_confidence():
    assert Tail.fit(np.zeros((3, 2)), np.zeros((3, 2), bool)) is None
    one = Tail.fit(np.full((5, 1), 0.3, np.float32), np.ones((5, 1), bool))
    assert one.rate(np.array([0.3]))[0] == 1 and one.rate(np.array([1.0]))[0] == 0


# A space of known truth -----------------------------------------------------------------------------------------------


def world(photos, sounds=0, classes=200, dim=64, seed=0):
    """Words, and photos and sounds of the first half of their classes; each modality in a region of its own."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(classes, dim)).astype(np.float32))
    gaps = [1.5 * unit(rng.normal(size=dim)) for _ in range(3)]
    vocabulary = Vocabulary(tuple(f"w{i:03}" for i in range(classes)), unit(centres + gaps[0]), 60.0, 40.0, own=False)
    labels, vectors = [], []
    for count, gap in ((photos, gaps[1]), (sounds, gaps[2])):
        labels.append(rng.integers(0, classes // 2, count))
        noise = rng.normal(size=(count, dim)) * (0.6 / dim**0.5)
        vectors.append(unit((centres[labels[-1]] + noise + gap).astype(np.float32)))
    vectors = np.concatenate(vectors)
    codes = np.repeat([0, 1], [photos, sounds])
    return vocabulary, vocabulary.items(vectors), codes, np.concatenate(labels)


def null_of(vocabulary, ranked, items, codes, **options):
    queries = Queries(vocabulary, vocabulary.vectors[None], [1.0])
    return NullModel(ranked, vocabulary, queries, items, codes, **options)


@pytest.mark.parametrize("photos", [1_000, 100_000])
def test_confidence_says_what_is_there(photos):
    vocabulary, items, codes, labels = world(photos)
    ranked = CosineRanking(items)
    null = null_of(vocabulary, ranked, items, codes)
    sure, right = [], []
    for word in range(200):
        scores = ranked.scores(Queries(vocabulary, vocabulary.vectors[None, word : word + 1], [1.0]))[0]
        best = scores.argmax()
        sure.append(confidence(null.e_values(scores[[best]], 0, photos))[0])
        right.append(labels[best] == word)
    sure, right = np.array(sure), np.array(right)
    assert right[:100].mean() > 0.95 and (sure[:100] >= 0.5).mean() > 0.5  # what is there
    # what is not there: as a probability promises, within two standard errors of a hundred words
    assert (sure[100:] >= 0.5).mean() < 0.6 and (sure[100:] >= 0.9).mean() < 0.16
    assert right[sure >= 0.5].mean() > 0.65  # of words half of which are there


def test_twenty_sounds_among_ten_thousand_files_are_found_with_confidence():
    vocabulary, items, codes, _ = world(10_000, 20)
    null = null_of(vocabulary, CosineRanking(items), items, codes)
    perfect = np.array([1.0])
    assert confidence(null.e_values(perfect, 1, 20, modalities=2))[0] > 0.999
    assert null.e_values(np.array([0.5]), 1, 20, 2)[0] < null.e_values(np.array([0.5]), 1, 2000, 2)[0]


def test_a_modality_s_own_number_counts_and_small_collections_count_for_more():
    vocabulary, items, codes, _ = world(1_000, 50)
    null = null_of(vocabulary, CosineRanking(items), items, codes)
    score = np.array([0.3])
    one = null.e_values(score, 0, 1_000)
    assert null.e_values(score, 0, 2_000) == pytest.approx(2 * one)
    assert null.e_values(score, 0, 1_000, modalities=2) == pytest.approx(2 * one)
    assert null.e_values(score, 0, 3) == null.e_values(score, 0, 300) == pytest.approx(0.3 * one)


def test_windows_of_one_file_are_not_in_each_other_s_null_distribution():
    vocabulary, items, codes, _ = world(40)
    files, own = np.repeat(np.arange(4), 10), np.arange(200) % 4
    null = null_of(vocabulary, CosineRanking(items), items, codes, files=files, own=own)
    assert len(null._tails[0].scores) <= 200 * 40 * 3 / 4


class Counted(np.ndarray):
    """An array that counts how many of its rows are copied."""

    copied = 0

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if isinstance(index, np.ndarray) and found.ndim == 2:
            Counted.copied += len(found)
        return found.view(np.ndarray)


@pytest.mark.parametrize("share", [0.05, 0.9])
@pytest.mark.parametrize("name", ["cosine", "described", "centred"])
def test_a_filter_copies_few_vectors_and_scores_as_without(name, share):
    """A copy of a million vectors is 2 GB, and takes ten times as long as their scores."""
    vocabulary, items, codes, _ = world(2_000, 2_000)
    means = mean_vectors(items, codes, 2)
    watched = SparseItems(items.vectors.view(Counted), items.words, items.weights)
    ranked = {
        "cosine": CosineRanking(watched),
        "described": DescribedRanking(watched, codes),
        "centred": DescribedRanking(watched, codes, 2.0, means),
    }[name]
    queries = Queries(vocabulary, vocabulary.vectors[None, :3], [1.0], means[:1] if name == "centred" else None)
    rows = np.flatnonzero(np.random.default_rng(0).random(4_000) < share)
    Counted.copied = 0
    found = ranked.scores(queries, rows)
    assert Counted.copied <= 0.25 * 4_000
    np.testing.assert_allclose(found, ranked.scores(queries)[:, rows], rtol=1e-4, atol=1e-5)


# Rankings -------------------------------------------------------------------------------------------------------------


def test_centring_ranks_a_mixed_index_more_fairly():
    """A photo asks: by cosine most photos come before nearly all sounds, whatever they are of."""
    vocabulary, items, codes, labels = world(500, 500)
    means = mean_vectors(items, codes, 2)
    ranked = DescribedRanking(items, codes, cosine=2.0, means=means)

    def precision(scores):
        return np.mean([(labels[np.argsort(-row)[:10]] == labels[i]).mean() for i, row in enumerate(scores)])

    asking = items.vectors[:100]
    plain = CosineRanking(items).scores(Queries(vocabulary, asking[None], [1.0]))
    centred = ranked.scores(Queries(vocabulary, asking[None], [1.0], means[:1]))
    assert (np.median(plain[:, :500], axis=1) > np.quantile(plain[:, 500:], 0.98, axis=1)).all()
    assert precision(centred) > 1.1 * precision(plain)
    one = ranked.scores(Queries(vocabulary, asking[None, :1], [1.0], means[:1]), np.arange(3, 990, 7))
    np.testing.assert_allclose(one[0], centred[0, 3:990:7], rtol=1e-4, atol=1e-5)


def test_auto_is_cosine_for_one_modality_of_an_open_vocabulary(here, tiny_space, space_folder, tmp_path):
    from PIL import Image as pil

    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (32, 32, 3), np.uint8)
        pil.fromarray(noise).save(tmp_path / f"p{i}.png")
    with Index.create(tmp_path / "open.index", tiny_space) as index:
        index.add([tmp_path / f"p{i}.png" for i in range(3)])
        assert not index._collection.vocabulary.own
        hits = index.search("a cat")
        assert [hit.score for hit in hits] == pytest.approx([hit.cosine for hit in hits], abs=1e-6)
        assert hits == index.search("a cat", ranking="cosine")
        described = index.search("a cat", ranking="described")
        assert [hit.score for hit in described] != pytest.approx([hit.cosine for hit in described], abs=1e-3)
        index.add(here / "cloud.xyz")
        assert index.search("a cat") == index.search("a cat", ranking="described")
        assert index.search("a cat", modality="image") == index.search("a cat", modality="image", ranking="cosine")
        with pytest.raises(InputError, match="ranking must be one of auto, cosine, described, got 'best'"):
            index.search("a cat", ranking="best")
    with Index.create(tmp_path / "own.index", str(space_folder)) as index:
        index.add([tmp_path / "p0.png"])
        assert index._collection.vocabulary.own
        assert index.search("cat") == index.search("cat", ranking="described")


def test_no_product_is_among_the_words_of_an_open_vocabulary(tiny_space):
    """nano's own words hold the products of a supermarket; a space of open vocabulary is described by nouns."""
    products = {"alpro", "arla", "bravo", "oatly", "tropicana", "valio", "yoggi", "garant", "ipod", "sharpie"}

    def named(words):
        return {word for word in words if products & set(word.split())}

    words = Vocabulary.of(tiny_space).words
    assert len(named(Vocabulary.of(load_space("nano")).words)) > 10 and not named(words)
    assert {"dog", "chair", "beach", "piano"} <= set(words) and len(words) > 1000


def test_what_is_related_to_a_sum_does_not_hang_on_rounding():
    """The words of both terms are as near to their sum; an item of either is related to it, whichever is nearer."""
    rng = np.random.default_rng(0)
    words = unit(rng.normal(size=(64, 128))).astype(np.float32)
    vocabulary = Vocabulary(tuple(map(str, range(64))), words, 20.0, 20.0)
    items = vocabulary.items(
        unit(np.repeat(words, 8, axis=0) + 0.3 * unit(rng.normal(size=(512, 128)))).astype(np.float32)
    )
    turned = np.roll(words, 7, axis=0)

    def e_value(terms):
        queries = Queries(vocabulary, terms, [1.0, 1.0])
        null = NullModel(CosineRanking(items), vocabulary, queries, items, np.zeros(len(items), int))
        return float(null.e_values(np.array([0.5]), 0, 100_000)[0])

    exact = e_value(np.stack([words, turned]))
    for seed in range(3):
        noise = 1e-6 * np.random.default_rng(seed).normal(size=(2, 64, 128))
        assert e_value((np.stack([words, turned]) + noise).astype(np.float32)) == pytest.approx(exact, rel=0.01)
    assert exact < 1  # 0.5 is far above what a sum scores with items of neither word
