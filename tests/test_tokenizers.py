# ruff: noqa: RUF001
"""Tokenizers by the tokenizers library, from a file: the ids are open_clip's for any text in any script."""

import html

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import tokenizer as theirs

from clipx.backbone.tokenizer import build_tokenizer
from clipx.backends.tokenizer import FileTokenizer, cleaned, save_tokenizer
from clipx.errors import InputError, SpaceError, UnsupportedError

SCRIPTS = [
    "a photo of a chair", "It's the CATS' toys, don't they'll we've I'm you're she'd",
    "Ein größerer Fußball über Österreich", "déjà-vu naïve façade l'été", "¿Dónde está el niño?", "İstanbul ığüşöç",
    "красный автомобиль ещё", "η κόκκινη καρέκλα", "כיסא אדום", "قطة نائمة ١٢٣", "लाल कुर्सी १२३", "ลูกแมวสีดำ",
    "一只猫坐在椅子上", "犬の写真 ネコ ｶﾀｶﾅ", "고양이 사진", "🐱🪑👩‍👩‍👧‍👦🏳️‍🌈", "e\u0301 a\u0308\u0323", "x² ½ ⅷ ①",
    "ﬁ ﬆ ﷺ ſ K Å",
    "&lt;b&gt; &amp;amp; &nbsp; &#x1F600; &notanentity;", "a\tb\nc\r\nd\u00a0e\u2003f\u200bg\u2028h",
    "\x00\x07\x1b[31mred\x7f\ufeff",
    "\u0345 \u24b6 \u0345<start_of_text>",
    "<start_of_text>", "<end_of_text> x<start_of_text><end_of_text>!<end_of_text>'s<start_of_text>",
    "<START_of_text> <End_Of_Text>",
    "_under_score__", "...!!!???", "", " ", "&nbsp;", "\u200b", "l’été “quoted” schâ€™s",
    "\U0001f9ff\U000323b0\U0001fae8\u0558\U0002ebf0",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
]  # fmt: skip
PIECES = st.one_of(
    st.sampled_from(SCRIPTS),
    st.text(max_size=12),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12),
    st.text(st.sampled_from("<>_'&;# \tsStTfﬀſK" + "start_of_end_of_text"), max_size=20),
    st.characters(categories=["Mn", "Mc", "Cf", "Cc", "Cn", "Lo", "No", "So", "Zs"]),
    st.sampled_from(list(html.entities.html5)).map(lambda name: f"&{name}"),
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Cleaning function -> open_clip's tokenizer, and ours from its file."""
    made = {}
    for clean in ("lower", "whitespace", "canonicalize"):
        defined = theirs.SimpleTokenizer(context_length=400, clean=clean)
        folder = tmp_path_factory.mktemp(clean)
        made[clean] = defined, FileTokenizer(folder, **save_tokenizer(defined, folder))
    return made


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
@pytest.mark.parametrize("text", SCRIPTS)
def test_every_script_gives_the_same_ids(pairs, clean, text):
    defined, ours = pairs[clean]
    assert ours([text, "a"]).tolist() == defined([text, "a"]).tolist()


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, clean=st.sampled_from(["lower", "whitespace", "canonicalize"]))
def test_any_text_gives_the_same_ids(pairs, text, clean):
    defined, ours = pairs[clean]
    expected = [defined.sot_token_id, *defined.encode(text), defined.eot_token_id]
    assert ours.ids(text) == expected


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, clean=st.sampled_from(["lower", "whitespace", "canonicalize"]))
def test_texts_are_cleaned_alike(text, clean):
    assert cleaned(text, clean) == theirs.get_clean_fn(clean)(text)


def test_a_very_long_word(pairs):
    defined, ours = pairs["lower"]
    for letter in "aß猫क\u0301":
        assert ours.ids(letter * 3000) == [defined.sot_token_id, *defined.encode(letter * 3000), defined.eot_token_id]


def test_every_letter_and_digit_is_in_the_same_class(pairs):
    """As open_clip parts them, in the version of Unicode that it has here."""
    import regex

    _, ours = pairs["lower"]
    split = ours.tokenizer.pre_tokenizer
    letter, digit, other = (
        regex.compile(f"[{kind}]", regex.IGNORECASE) for kind in (r"\p{L}", r"\p{N}", r"^\s\p{L}\p{N}")
    )
    for start in range(0x20, 0x110000, 97):  # a sample
        character = chr(start)
        if 0xD800 <= start < 0xE000 or character.isspace():
            continue
        pieces = len(split.pre_tokenize_str(f"a{character}a")), len(split.pre_tokenize_str(f"!{character}!"))
        if not (letter.match(character) or digit.match(character) or other.match(character)):
            assert pieces == (2, 2)  # left out
            continue
        kind = (1, 3) if letter.match(character) else (3, 3) if digit.match(character) else (3, 1)
        assert pieces == kind, hex(start)


def test_padding_is_cut_to_the_longest_text(tmp_path):
    defined = theirs.SimpleTokenizer(context_length=20)
    options = save_tokenizer(defined, tmp_path)
    ours, whole = FileTokenizer(tmp_path, **options, cut_padding=True), FileTokenizer(tmp_path, **options)
    texts = ["a chair", "a photo of a chair"]
    assert ours(texts).shape == (2, 7) and whole(texts).shape == (2, 20) and ours([]).shape == (0, 1)
    assert ours(texts).dtype == np.int64
    assert ours(texts).tolist() == whole(texts)[:, :7].tolist() == defined(texts)[:, :7].tolist()


@pytest.mark.parametrize("text", ["cat " * 80, "\U0001d15e" * 15])  # the last one grows when it is cleaned
def test_both_refuse_what_they_would_cut(tmp_path, text):
    config = {"text_cfg": {"context_length": 77}}
    strict = build_tokenizer(config)
    ours = FileTokenizer(tmp_path, **save_tokenizer(strict.definition, tmp_path))
    lines = []
    for tokenizer in (strict, ours):
        with pytest.raises(InputError, match="tokens does not fit the 77 this space reads") as caught:
            tokenizer([text])
        lines.append(str(caught.value))
    assert lines[0] == lines[1]


def test_a_text_that_just_fits(tmp_path):
    strict = build_tokenizer({"text_cfg": {"context_length": 10}})
    ours = FileTokenizer(tmp_path, **save_tokenizer(strict.definition, tmp_path))
    assert ours(["cat " * 8]).tolist() == strict(["cat " * 8]).tolist()
    for tokenizer in (strict, ours):
        with pytest.raises(InputError, match="a text of 11 tokens"):
            tokenizer(["cat " * 9])


def test_what_no_file_can_say_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match="parses the syntax"):
        save_tokenizer(theirs.SimpleTokenizer(reduction_mask="syntax"), tmp_path)
    odd = theirs.SimpleTokenizer()
    odd.clean_fn = str.upper
    with pytest.raises(UnsupportedError, match="the cleaning function of this tokenizer is unknown"):
        save_tokenizer(odd, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_one_line(tmp_path):
    options = save_tokenizer(theirs.SimpleTokenizer(), tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SpaceError, match="not the tokenizer that was exported: its SHA-256 differs"):
        FileTokenizer(tmp_path, **options)
    from clipx.files import sha256_of

    with pytest.raises(SpaceError, match="is no tokenizer"):
        FileTokenizer(tmp_path, **{**options, "sha256": sha256_of(b"{}")})


# Of the transformers library ------------------------------------------------------------------------------------------

CORPUS = ["a photo of a cat", "two dogs on the beach", "eine Katze", "кот и собака", "猫 犬", "the quick brown fox"] * 3


def like_bert(left=False):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    around = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    side = "left" if left else "right"
    return PreTrainedTokenizerFast(
        tokenizer_object=made, **names, bos_token="[CLS]", eos_token="[SEP]", padding_side=side
    )


def like_t5():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    special = ["</s>", "<pad>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


HUB = {
    "bert": (like_bert, {"tokenizer_kwargs": {"clean": "canonicalize", "strip_sep_token": True}}),
    "bert-left": (lambda: like_bert(left=True), {}),
    "clips": (like_bert, {"tokenizer_mode": "clips", "tokenizer_kwargs": {"clean": "lower"}}),
    "t5": (like_t5, {"tokenizer_kwargs": {"clean": "whitespace"}}),
}


@pytest.fixture(scope="module", params=HUB)
def hub_pair(request, tmp_path_factory):
    pytest.importorskip("transformers")
    make, more = HUB[request.param]
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    make().save_pretrained(source)
    config = {"text_cfg": {"context_length": 24, "hf_tokenizer_name": "some/name", **more}}
    strict = build_tokenizer(config, source)
    options = save_tokenizer(strict.definition, folder)
    return strict, FileTokenizer(folder, **options), build_tokenizer(config, folder)


@pytest.mark.parametrize("text", [*SCRIPTS, "[SEP] [CLS] <pad> </s> <unk>", "Two DOGS on the beach!"])
def test_a_tokenizer_of_the_hub_gives_the_same_ids(hub_pair, text):
    strict, ours, again = hub_pair
    try:
        expected = strict([text, "a cat"]).tolist()
    except InputError as error:
        with pytest.raises(InputError) as caught:
            ours([text, "a cat"])
        assert str(caught.value) == str(error)
    else:
        assert ours([text, "a cat"]).tolist() == again([text, "a cat"]).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_any_text_gives_the_same_ids_of_the_hub_s(hub_pair, text):
    strict, ours, _ = hub_pair
    assert len(ours.ids(text)) + (ours.last is not None) == strict.length(text)
    if strict.length(text) <= 24:
        assert ours([text]).tolist() == strict([text]).tolist()
