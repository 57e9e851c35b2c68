"""Labels as a classifier: a space whose text tower is a table makes every figure computable by hand."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import clipx.prompts
from clipx.api import classify, embed, parse_labels
from clipx.embedding import Embedding
from clipx.errors import ClipxError, FileError, InputError, SpaceMismatchError, VocabularyError
from clipx.zeroshot import Prediction, ZeroShotClassifier

SAID = {"a cat": (1.0, 0.0), "the cat": (0.0, 1.0), "a dog": (-0.6, 0.8), "the dog": (-0.6, 0.8), "a eel": (0.0, -1.0)}
INPUT = Embedding(torch.tensor([[0.6, 0.8], [0.0, -1.0]]), "table", "toy")


@dataclass
class TableSpace:
    """As much of a JointSpace as a classifier needs."""

    id: str = "table"
    dim: int = 2
    logit_scale: float = 10.0
    embedded: bool = True
    unseen: tuple[str, ...] = ("wug",)

    def encode_text(self, texts):
        return np.array([SAID[text] for text in texts], np.float32)

    def unknown(self, text):
        return [word for word in text.split() if word in self.unseen]

    def require_words(self, texts):
        for text in texts:
            if words := self.unknown(text):
                raise VocabularyError(f"words this space never saw: {words[0]}")


def test_a_weight_is_the_normalised_mean_of_its_sentences():
    weights = ZeroShotClassifier(TableSpace(), ["cat", "dog"], ("a {}", "the {}")).weights
    np.testing.assert_allclose(weights.vectors, [[math.sqrt(0.5)] * 2, [-0.6, 0.8]], rtol=1e-6)
    assert (weights.space_id, weights.modality, weights.ids) == ("table", "text", ("cat", "dog"))


def test_predictions_by_hand():
    classifier = ZeroShotClassifier(TableSpace(), ["cat", "dog", "eel"], "a {}")
    np.testing.assert_allclose(classifier.logits(INPUT), [[6, 2.8, -8], [0, -8, 10]], rtol=1e-5, atol=1e-6)
    first, second = classifier.predict(INPUT)
    assert [p.label for p in first] == ["cat", "dog", "eel"] and [p.rank for p in first] == [1, 2, 3]
    assert [p.cosine for p in first] == pytest.approx([0.6, 0.28, -0.8])
    total = math.exp(6) + math.exp(2.8) + math.exp(-8)
    assert [p.probability for p in first] == pytest.approx([math.exp(x) / total for x in (6, 2.8, -8)])
    assert second[0] == Prediction("eel", 1.0, pytest.approx(1, abs=1e-4), 1)
    assert [[p.label for p in row] for row in classifier.predict(INPUT, top_k=1)] == [["cat"], ["eel"]]
    assert len(classifier.predict(INPUT, top_k=99)[0]) == 3
    assert classifier.predict(INPUT[:0]) == []


@pytest.mark.parametrize(("threshold", "best"), [(0.59, "cat"), (0.61, "none"), (-1, "cat"), (1, "none")])
def test_none_comes_first_exactly_below_the_threshold(threshold, best):
    row = ZeroShotClassifier(TableSpace(), ["cat", "dog"], "a {}", none_threshold=threshold).predict(INPUT)[0]
    assert row[0].label == best and len(row) == 3
    assert sum(p.probability for p in row) == pytest.approx(1)
    assert {p.label: p.cosine for p in row}["none"] == pytest.approx(threshold)


def test_a_label_wins_a_tie_with_none():
    exact = Embedding(torch.tensor([[1.0, 0.0]]), "table", "toy")
    assert ZeroShotClassifier(TableSpace(), ["cat"], "a {}", none_threshold=1).predict(exact)[0][0].label == "cat"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "list of labels is empty"),
        ("cat,dog", "labels must be a list"),
        (["cat", " "], "label 1 is ' '"),
        (["cat", "_"], "label 1 is '_'"),
        (["cat", math.nan], "label 1 is nan"),
        (["cat", "cat"], "'cat' is given twice"),
        (["night_stand", " Night  stand"], "given twice, as 'night_stand' before"),
    ],
)
def test_unusable_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        ZeroShotClassifier(TableSpace(), labels)


def test_unusable_thresholds_tops_and_words_are_refused():
    for threshold in (math.nan, math.inf, 1.1, -2):
        with pytest.raises(InputError, match="none_threshold must be a cosine"):
            ZeroShotClassifier(TableSpace(), ["cat"], "a {}", none_threshold=threshold)
    with pytest.raises(InputError, match="collides"):
        ZeroShotClassifier(TableSpace(), ["None"], "a {}", none_threshold=0)
    with pytest.raises(InputError, match="top must be at least 1"):
        ZeroShotClassifier(TableSpace(), ["cat"], "a {}").predict(INPUT, top_k=0)
    with pytest.raises(VocabularyError, match="wug"):
        ZeroShotClassifier(TableSpace(), ["cat", "wug"], "a {}")


@pytest.mark.parametrize("prompts", ["the wug {}", ("a {}", "wug {}"), {"cat": ["a cat"], "dog": ["a wug"]}])
def test_the_user_s_own_prompts_must_be_known_words(prompts):
    with pytest.raises(VocabularyError, match="wug"):
        ZeroShotClassifier(TableSpace(), ["cat", "dog"], prompts)


def test_a_named_set_leaves_out_what_the_space_never_saw_and_says_so(monkeypatch):
    monkeypatch.setitem(clipx.prompts._SETS, "mixed", ("a {}", "a wug and a {}", "the {}"))
    mixed = ZeroShotClassifier(TableSpace(), ["cat", "dog"], "mixed")
    assert mixed.dropped_prompts == ("a wug and a {}",)
    known = ZeroShotClassifier(TableSpace(), ["cat", "dog"], ("a {}", "the {}"))
    assert known.dropped_prompts == () and np.array_equal(mixed.weights.vectors, known.weights.vectors)
    with pytest.raises(VocabularyError, match="never saw: a"):
        ZeroShotClassifier(TableSpace(unseen=("a", "the")), ["cat", "dog"], "mixed")


def test_sentences_that_cancel_out_are_refused(monkeypatch):
    monkeypatch.setitem(SAID, "the cat", (-1.0, 0.0))
    with pytest.raises(InputError, match="cancel out"):
        ZeroShotClassifier(TableSpace(), ["cat"], ("a {}", "the {}"))


def test_embeddings_of_another_space_are_refused():
    with pytest.raises(SpaceMismatchError, match="encode both with the same space"):
        ZeroShotClassifier(TableSpace(), ["cat"], "a {}").predict(Embedding(INPUT.vectors, "other", "toy"))


def test_more_labels_than_one_text_batch(tiny_space):
    labels = [f"thing {i}" for i in range(300)]
    classifier = ZeroShotClassifier(tiny_space, labels, ("a photo of a {}", "{}"))
    alone = ZeroShotClassifier(tiny_space, labels[290:], ("a photo of a {}", "{}"))
    torch.testing.assert_close(classifier.weights.vectors[290:], alone.weights.vectors, atol=1e-5, rtol=0)
    own = classifier.predict(classifier.weights)
    assert [row[0].label for row in own] == labels and own[7][0].cosine == pytest.approx(1, abs=1e-5)


# The one-liners -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A picture, a cloud, a second picture."""
    import numpy as np
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    for name in ("a.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    np.savetxt(folder / "b.xyz", rng.normal(size=(100, 3)))
    return [folder / "a.png", folder / "b.xyz", folder / "c.png"]


def test_classify_keeps_the_order_of_mixed_files(files, tiny_space):
    rows = classify(files, ["cat", "dog"], space=tiny_space)
    for row, path in zip(rows, files, strict=True):
        alone = clipx.classify(path, ["cat", "dog"], space=tiny_space)
        assert [(p.label, p.rank) for p in row] == [(p.label, p.rank) for p in alone]
        assert [p.cosine for p in row] == pytest.approx([p.cosine for p in alone], abs=1e-5)
        assert classify(str(path), ["cat", "dog"], space=tiny_space, top=1) == alone[:1]
    assert classify([], ["cat"], space=tiny_space) == []


def test_each_modality_speaks_its_own_prompts_unless_told(files, tiny_space):
    cloud = embed(files[1], space=tiny_space)
    own = ZeroShotClassifier(tiny_space, ["cat"], "pointclip").predict(cloud)[0][0].cosine
    told = ZeroShotClassifier(tiny_space, ["cat"], "plain").predict(cloud)[0][0].cosine
    assert classify(files[1], ["cat"], space=tiny_space)[0].cosine == pytest.approx(own, abs=1e-6)
    assert classify(files[1], ["cat"], space=tiny_space, prompts="plain")[0].cosine == pytest.approx(told, abs=1e-6)
    assert own != pytest.approx(told, abs=1e-6)


def test_embed_gives_a_row_for_each_file(files, tiny_space):
    embedding = clipx.embed(files, space=tiny_space, batch_size=1)
    assert embedding.modality == "image+pointcloud" and embedding.ids == tuple(map(str, files))
    for i, path in enumerate(files):
        alone = embed([path], space=tiny_space)
        torch.testing.assert_close(embedding.vectors[i : i + 1], alone.vectors, atol=1e-5, rtol=0)
    assert embed(files[0], space=tiny_space).modality == "image"
    assert len(embed([], space=tiny_space)) == 0


def test_settings_reach_the_modality_that_has_them(files, tiny_space):
    y, z = (embed(files, space=tiny_space, up=up).vectors for up in "yz")
    assert np.array_equal(y[0], z[0]) and not np.allclose(y[1], z[1])


def test_a_space_given_by_name_is_loaded_once(files, monkeypatch, tiny_space):
    from clipx import api
    from clipx.spaces import loading

    calls = []
    monkeypatch.setattr(loading, "load_space", lambda name, device, backend: calls.append((name, device)) or tiny_space)
    api._load_once.cache_clear()
    try:
        for _ in range(2):
            classify(files[0], ["cat"], space="toy")
    finally:
        api._load_once.cache_clear()
    assert calls == [("toy", "cpu")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modality": "smell"}, "no modality named 'smell'; installed: "),
        ({"colour": 1}, "image has no setting 'colour'"),
        ({"up": "z"}, "image has no setting 'up'; known: domain"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"top": 0}, "top must be at least 1"),
    ],
)
def test_unusable_options_are_refused(files, tiny_space, options, message):
    with pytest.raises(InputError, match=message):
        classify(files[0], ["cat"], space=tiny_space, **options)


def test_unusable_files_are_refused(tmp_path, tiny_space):
    with pytest.raises(InputError, match=r"no modality reads \.docx"):
        classify(tmp_path / "essay.docx", ["cat"], space=tiny_space)
    with pytest.raises(FileError, match=r"gone\.png"):
        classify(tmp_path / "gone.png", ["cat"], space=tiny_space)


def test_labels_of_the_command_line(tmp_path):
    assert parse_labels("cat, night_stand ,dog") == ["cat", "night_stand", "dog"]
    assert parse_labels("cat,,dog") == ["cat", "", "dog"]  # the classifier refuses it
    assert parse_labels("  ") == []
    labels = tmp_path / "labels.txt"
    labels.write_bytes("\ufeffwolf, grey\r\n\r\n cat \n".encode())
    assert parse_labels(f"@{labels}") == ["wolf, grey", "cat"]
    labels.write_text("cat,dog\n")
    assert parse_labels(f"@{labels}") == ["cat", "dog"]
    labels.write_text("\n")
    with pytest.raises(FileError, match=r"labels\.txt: names no class; give a file with one label a line"):
        parse_labels(f"@{labels}")
    labels.write_bytes(b"\xff\xfe\x00caf\xe9")
    for unreadable, said in ((labels, "is not UTF-16"), (tmp_path, "is a folder"), (tmp_path / "gone", "no such file")):
        with pytest.raises(FileError, match=said):
            parse_labels(f"@{unreadable}")


@pytest.mark.parametrize("text", ['"chair","table","wolf, grey"', "\u201cchair\u201d\t'table'\twolf, grey"])
def test_quotes_are_no_part_of_a_label(text, tmp_path):
    labels = ["chair", "table", "wolf, grey"]
    assert parse_labels(text) == labels
    (tmp_path / "labels.txt").write_text(text + "\r\n")
    assert parse_labels(f"@{tmp_path / 'labels.txt'}") == labels
    assert parse_labels("chair; 'table' ;lamp") == ["chair", "table", "lamp"]
    assert parse_labels('say "ah",12" disc,don\'t') == ['say "ah"', '12" disc', "don't"]
    for broken in ('"chair,table', '"chair"s,table'):
        with pytest.raises(InputError, match="quotes that do not match"):
            parse_labels(broken)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b'"chair"\n"wolf, grey"\n'),
        ("a.txt", b'"chair",\r\n"wolf, grey",\r\n'),
        ("a.txt", b"\xef\xbb\xbfchair\r\rwolf, grey\r"),
        ("a.txt", "chair\r\nwolf, grey\r\n".encode("utf-16")),
        ("a.txt", b"\xfe\xff" + "chair\t\nwolf, grey\n".encode("utf-16-be")),
        ("a.csv", b'chair\n"wolf, grey"\n'),
        ("a.csv", b'"chair","wolf, grey"\n'),
        ("a.tsv", b"chair\twolf, grey\n"),
        ("a.txt", b'chair\n"wolf, grey"'),
    ],
)
def test_label_files_of_other_programs(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert parse_labels(f"@{tmp_path / name}") == ["chair", "wolf, grey"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"n01\tchair\nn02\ttable\n", "is a table of 2 columns, not a list of labels; give a file with one"),
        ("a.csv", b"path,label\na.jpg,chair\n", "is a table of 2 columns"),
        ("a.txt", "chair\ntable\n".encode("utf-16-le"), "is UTF-16 without a byte order mark; save it as UTF-8"),
        ("a.txt", "chair\ncaf\xe9\n".encode("cp1252"), r"is not UTF-8 text \(byte 9\); save it as UTF-8"),
        ("a.txt", b"chair\0table", "is no text: it holds zero bytes"),
        ("a.txt", b"", "names no class"),
        ("a.txt", b'chair\n"table\n', "quotes that do not match in '\"table'"),
    ],
)
def test_label_files_that_are_refused_with_the_cause(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClipxError, match=rf"{name}: {said}") as caught:
        parse_labels(f"@{tmp_path / name}")
    assert "\n" not in str(caught.value)
