"""The language of a search: what is parsed, and where a mistake is shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipx.errors import ClipxError, FileError, InputError
from clipx.index.query import Term, parse


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("beach.png", "a - b.png", "my photo.png", "2*x.png", "dog"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "photos").mkdir()


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("a dog on grass", [Term("a dog on grass")]),
        ("  a dog  ", [Term("a dog")]),
        ("beach.png", [Term(Path("beach.png"))]),
        ("dog", [Term(Path("dog"))]),  # an existing file wins
        ('"dog"', [Term("dog")]),  # quotes force text
        ("photos", [Term("photos")]),  # a folder is no file
        ('beach.png + "at night" - "people"', [Term(Path("beach.png")), Term("at night"), Term("people", -1)]),
        ("beach.png + at night - people", [Term(Path("beach.png")), Term("at night"), Term("people", -1)]),
        ("2*beach.png + 0.5 * rain", [Term(Path("beach.png"), 2), Term("rain", 0.5)]),
        ('cat - .25*"a b"', [Term("cat"), Term("a b", -0.25)]),
        ("2*x.png", [Term(Path("2*x.png"))]),
        ("a - b.png", [Term(Path("a - b.png"))]),
        ("my photo.png + rain", [Term(Path("my photo.png")), Term("rain")]),
        ('"a - b" + cat', [Term("a - b"), Term("cat")]),
        ("t-shirt+jeans", [Term("t-shirt+jeans")]),  # no spaces, no sign
        ("a cat's toy", [Term("a cat's toy")]),
        (
            ["beach.png", "+", "at night", "-", "2*people"],
            [Term(Path("beach.png")), Term("at night"), Term("people", -2)],
        ),
        ("- people + cat", None),
        ("日本 + 犬", [Term("日本"), Term("犬")]),
        ("image:beach.png", [Term(Path("beach.png"), 1.0, "image")]),
        (
            "2*image:my photo.png - sketch: dog",
            [Term(Path("my photo.png"), 2, "image"), Term(Path("dog"), -1, "sketch")],
        ),
        ("image:beach", [Term("image:beach")]),  # no file, no suffix of ours: words
        ("smell:beach.png2", [Term("smell:beach.png2")]),
        ('"image:beach.png"', [Term("image:beach.png")]),
    ],
)
def test_parse(query, terms):
    if terms is None:
        with pytest.raises(InputError):
            parse(query)
    else:
        assert parse(query) == terms


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("a +", "a term is missing, at column 4: a +>>>"),
        ("a + ", "a term is missing, at column 5: a + >>>"),
        ("+ a", "column 1: >>>+ a"),
        ("a + - b", "column 5: a + >>>- b"),
        ('a + "b', 'does not end, at column 5: a + >>>"b'),
        ('""', "nothing between the quotes, at column 1"),
        ('"a" b', 'something after a quote, at column 5: "a" >>>b'),
        ('"a"b', "something after a quote"),
        ("0*a", "a weight must be positive, at column 1"),
        ("a + 2* - b", "a weight weighs nothing, at column 8"),
        ("2*", "weighs nothing"),
        ("a + 2* ", "weighs nothing"),
        (f"{'long ' * 60} + ", "long long + >>>..."),
    ],
)
def test_a_mistake_is_shown_at_its_place(query, shown):
    with pytest.raises(InputError) as caught:
        parse(query)
    assert " ".join(shown.split()) in str(caught.value) and len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_not_taken_for_words():
    with pytest.raises(FileError, match=r"no_such\.png: no such file; .*double quotes"):
        parse("no_such.png + rain")
    assert parse('"no_such.png"') == [Term("no_such.png")]
    assert parse("node.js") == [Term("node.js")]  # no suffix of ours
    with pytest.raises(FileError, match=r"^no_such\.png: no such file"):
        parse("image:no_such.png")
    Path("image:beach.png").write_bytes(b"x")  # a file of that very name
    assert parse("image:beach.png") == [Term(Path("image:beach.png"))]


words = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)
plain = st.from_regex(r"[a-z]{1,8}( [a-z]{1,8}){0,3}", fullmatch=True)
weights = st.integers(1, 999).map(lambda n: n / 100)


@given(words)
def test_any_text_is_terms_or_one_line(query):
    try:
        terms = parse(query)
    except ClipxError as error:
        assert "\n" not in str(error)
    else:
        assert terms and any(term.weight > 0 for term in terms) and all(str(term.content) for term in terms)


@given(st.lists(st.tuples(plain, weights, st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_what_is_written_is_read(parts):
    written, wanted = [], []
    for i, (text, weight, minus, quoted) in enumerate(parts):
        if i:
            written.append("-" if minus else "+")
        written.append(f'{weight}*"{text}"' if quoted else f"{weight}*{text} x")
        wanted.append((text if quoted else f"{text} x", -weight if minus and i else weight))
    got = parse(" ".join(written))
    assert [(t.content, t.weight) for t in got] == [(text, pytest.approx(weight)) for text, weight in wanted]
