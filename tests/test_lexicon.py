"""The text tower that takes any string: what its tokenizer finds, and what the tower makes of it."""

import pytest
import torch
import torch.nn.functional as F

from clipx.backbone.lexicon_text import LexiconText
from clipx.errors import InputError
from clipx.lexicon import PICTURES, SUBWORDS, TEXT, UNKNOWN, Lexicon
from clipx.spaces.loading import load_space

PHRASES = {"cat": 0, "dog": 1, "polar bear": 2, "bear": 3, "leaf": 4, "t shirt": 5, "red": 6, "teddy bear": 2}
SUBS = [
    "[PAD]",
    "[UNK]",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    "ze",
    "##bra",
]


@pytest.fixture
def lexicon():
    return Lexicon(PHRASES, SUBS, seen=3, things=6)


@pytest.fixture
def tower():
    torch.manual_seed(0)
    text = LexiconText(8, seen=3, phrases=7, basis=4, subwords=len(SUBS), width=6, hidden=5)
    with torch.no_grad():
        text.seen.normal_()
        text.codes.copy_(torch.randint(-127, 128, text.codes.shape))
    return text.eval()


def found(lexicon, text):
    return {piece.phrase: piece.level for piece in lexicon.pieces(text)}


def test_the_longest_phrase_wins(lexicon):
    assert found(lexicon, "a polar bear and a bear") == {"polar bear": PICTURES, "bear": TEXT}


@pytest.mark.parametrize("text", ["cats", "the cat's", "a photo of two cats.", "itap of my cat", "a drawing of a CAT"])
def test_number_articles_and_styles_do_not_matter(lexicon, text):
    assert lexicon([text]).tolist() == lexicon(["cat"]).tolist()


def test_irregular_joints_and_plurals(lexicon):
    assert lexicon(["leaves"]).tolist() == lexicon(["leaf"]).tolist()
    assert lexicon(["t-shirts"]).tolist() == lexicon(["T shirt"]).tolist()


def test_every_template_of_clip_says_its_noun(lexicon):
    from clipx.prompts import get_prompts

    for template in get_prompts("openai"):
        assert lexicon([template.replace("{}", "polar bear")]).tolist() == lexicon(["polar bear"]).tolist(), template


def test_a_word_that_is_no_thing_counts_only_on_its_own(lexicon):
    assert found(lexicon, "a red cat") == {"cat": PICTURES}
    assert found(lexicon, "red") == {"red": TEXT}


def test_coverage_says_how_well_a_word_is_known(lexicon):
    assert lexicon.coverage("a photo of a cat, a bear and a zebra") == {
        "cat": PICTURES,
        "bear": TEXT,
        "zebra": SUBWORDS,
    }


def test_a_name_that_was_shown_may_begin_with_a_word_of_style():
    shown = Lexicon({"poodle": 0, "toy poodle": 1, "saw": 2, "see saw": 3, "big cat": 4, "cat": 5}, SUBS, 4, 6)
    assert found(shown, "a photo of a toy poodle") == {"toy poodle": PICTURES}
    assert found(shown, "a drawing of a see saw") == {"see saw": PICTURES}
    assert found(shown, "a photo of a big cat") == {"cat": TEXT}  # a template, more likely than a lion


def test_words_that_say_nothing_else_count(lexicon):
    assert [piece.phrase for piece in lexicon.pieces("a photo")] == ["photo"]
    assert [piece.phrase for piece in lexicon.pieces("the")] == ["the"]


@pytest.mark.parametrize("text", ["zebra", "?!", "猫", "x" * 500, "a photo of", "\u0301"])
def test_any_string_has_a_vector(lexicon, tower, text):
    assert lexicon.pieces(text)
    row = tower(torch.from_numpy(lexicon([text])))
    assert row.shape == (1, 8) and row.isfinite().all() and row.norm() > 0


def test_neighbours_are_not_glued_into_other_nouns(lexicon):
    glued = Lexicon({**PHRASES, "agate": 6, "gate": 3, "handbag": 6, "hand": 3, "bag": 4, "teapot": 5}, SUBS, 3, 7)
    assert found(glued, "a photo of a gate") == {"gate": TEXT}
    assert found(glued, "a hand, a bag") == found(glued, "hand bag") == {"hand": TEXT, "bag": TEXT}
    assert found(glued, "a tea pot") == {"tea pot": TEXT}


def test_every_single_word_is_found_behind_an_article():
    lexicon = load_space("lite").lexicon
    words = [phrase for phrase in lexicon.phrases if " " not in phrase]
    wrong = [word for word in words if lexicon.pieces(f"a photo of a {word}") != lexicon.pieces(word)]
    assert len(words) > 20_000 and wrong == []


@pytest.mark.parametrize(
    "text", ["a photo of a statue", "a photo of a toy", "a sculpture", "a computer", "a photo of a drawing"]
)
def test_words_of_style_are_taken_where_they_are_what_is_meant(text):
    lexicon = load_space("lite").lexicon
    assert set(lexicon.coverage(text)) <= {"statue", "toy", "sculpture", "computer", "drawing"}
    assert "subwords" not in lexicon.coverage(text).values()


def test_accents_and_widths_do_not_matter(lexicon):
    assert lexicon(["c\u00e1t"]).tolist() == lexicon(["\uff43\uff41\uff54"]).tolist() == lexicon(["cat"]).tolist()


def test_a_word_in_no_known_alphabet_is_unknown_and_says_nothing_beside_another(lexicon):
    assert lexicon.coverage("\u732b") == {"\u732b": UNKNOWN}
    assert lexicon(["\u732b cat"]).tolist() == lexicon(["cat"]).tolist()


def test_long_words_and_texts(lexicon):
    assert len(lexicon.pieces("x" * 100_000)[0].tokens) == 64
    with pytest.raises(InputError, match="a text of 300 tokens does not fit the 256"):
        lexicon(["cat " * 300])


def test_a_vocabulary_that_does_not_fit_is_refused(lexicon):
    lexicon.check({"subwords": len(SUBS), "seen": 3, "phrases": 7})
    with pytest.raises(ValueError, match="subwords"):
        lexicon.check({"subwords": len(SUBS) + 1, "seen": 3, "phrases": 7})


def test_spelling_takes_the_longest_pieces(lexicon):
    (piece,) = lexicon.pieces("zebra")
    assert [SUBS[token] for token in piece.tokens] == ["ze", "##bra"]


def test_a_vector_does_not_depend_on_the_batch(lexicon, tower):
    texts = ["cat", "zebra", "a polar bear in a zebra crossing of leaves", "red"]
    together = tower(torch.from_numpy(lexicon(texts)))
    alone = torch.cat([tower(torch.from_numpy(lexicon([text]))) for text in texts])
    torch.testing.assert_close(together, alone)


def test_phrases_are_averaged_and_spelling_is_added(lexicon, tower):
    def row(text):
        return tower(torch.from_numpy(lexicon([text])))[0]

    seen = F.normalize(tower.seen, dim=1)
    coded = F.normalize(tower.basis(tower.codes.float()), dim=1)
    torch.testing.assert_close(row("cat"), seen[0])
    torch.testing.assert_close(row("bear"), coded[0])
    torch.testing.assert_close(row("cat and bear"), (seen[0] + coded[0]) / 2)
    spelt = F.normalize(row("zebra"), dim=0)
    torch.testing.assert_close(row("cat zebra"), seen[0] + tower.share * spelt)


def test_synonyms_share_a_vector(lexicon):
    assert lexicon(["teddy bear"]).tolist() == lexicon(["polar bear"]).tolist()
