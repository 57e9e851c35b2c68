"""Noun phrases of a sentence: which words they hold, where they lie, and what is refused."""

import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipx.errors import InputError, MissingDependencyError
from clipx.modalities.detect.phrases import noun_phrases, spoken_phrase

TABLE = {
    # articles, prepositions
    "a red cup on a table": ["a red cup", "a table"],
    "The cat under the old wooden chair": ["The cat", "the old wooden chair"],
    "the man in the blue shirt": ["the man", "the blue shirt"],
    "A lamp next to the bed.": ["A lamp", "the bed"],
    "a bicycle in front of a brick wall": ["a bicycle", "a brick wall"],
    "the plant on top of the shelf": ["the plant", "the shelf"],
    "the dog to the left of the sofa": ["the dog", "the sofa"],
    "an umbrella with a curved handle": ["an umbrella", "a curved handle"],
    "no cars between these houses": ["no cars", "these houses"],
    # bare nouns, lists, conjunctions
    "cup": ["cup"],
    "cup, plate and fork": ["cup", "plate", "fork"],
    "cup; plate / fork": ["cup", "plate", "fork"],
    "two dogs and a cat": ["two dogs", "a cat"],
    "the cat or the dog": ["the cat", "the dog"],
    "3 apples, 2 pears": ["3 apples", "2 pears"],
    "all the books and both chairs": ["all the books", "both chairs"],
    "people with umbrellas": ["people", "umbrellas"],
    # adjectives
    "a black and white cow": ["a black and white cow"],
    "a big, brown dog": ["a big, brown dog"],
    "red, green and blue balls": ["red, green and blue balls"],
    "a very small bird": ["a very small bird"],
    "a brightly colored kite": ["a brightly colored kite"],
    "the car is red": ["the car"],
    "the shirt is orange, and the orange is ripe": ["the shirt", "the orange"],
    "the largest of the boxes": ["the boxes"],
    # verbs
    "a man sitting on a bench": ["a man", "a bench"],
    "man riding horse": ["man", "horse"],
    "a running dog": ["a running dog"],
    "a car parked near a tree": ["a car", "a tree"],
    "the parked car": ["the parked car"],
    "Two dogs play with a ball": ["Two dogs", "a ball"],
    "a woman holds her phone": ["a woman", "her phone"],
    "man with glasses reads newspaper": ["man", "glasses", "newspaper"],
    "a person on skis going down a snowy hill": ["a person", "skis", "a snowy hill"],
    "the dog barks at half of an orange": ["the dog", "an orange"],
    "a stuffed teddy bear that was left on a bench": ["a stuffed teddy bear", "a bench"],
    "the children are eating pizza": ["the children", "pizza"],
    "A boy sat down and ate an apple": ["A boy", "an apple"],
    "a girl who wears a hat": ["a girl", "a hat"],
    "the dog that is sleeping on the couch": ["the dog", "the couch"],
    "there is a clock above the door": ["a clock", "the door"],
    "find the white mug": ["the white mug"],
    "I see three birds": ["three birds"],
    "he wants to drink a cold drink": ["a cold drink"],
    "a soda can and a dog that can swim": ["a soda can", "a dog"],
    "the bird isn't on the branch": ["the bird", "the branch"],
    # compounds, hyphens, possessives, quantities
    "a traffic light and a stop sign": ["a traffic light", "a stop sign"],
    "a dining table, a swimming pool": ["a dining table", "a swimming pool"],
    "the T-shirt of a well-dressed man": ["the T-shirt", "a well-dressed man"],
    "the man's hat": ["the man's hat"],
    "the dogs' bowls and my sister\u2019s bag": ["the dogs' bowls", "my sister\u2019s bag"],
    "a cup of coffee beside a group of people": ["a cup of coffee", "a group of people"],
    "a painting of a building": ["a painting", "a building"],
    "a wrist watch": ["a wrist watch"],
    "this and that chair": ["that chair"],
    "What is behind the curtain?": ["the curtain"],
    "caf\u00e9 au lait": ["caf\u00e9 au lait"],
    "EIN HUND": ["EIN HUND"],
}
NO_NOUN = ["", "   ", "?!", "it is", "running", "red", "the", "very slowly", "of and on", "she is sleeping", "42"]
COCO = """person bicycle car motorcycle airplane bus train truck boat|traffic light|fire hydrant|stop sign|parking meter
|bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee skis
snowboard
|sports ball|kite|baseball bat|baseball glove|skateboard surfboard|tennis racket|bottle|wine glass|cup fork knife spoon
bowl banana apple sandwich orange broccoli carrot|hot dog|pizza donut cake chair couch|potted plant|bed|dining table|
toilet tv laptop mouse remote keyboard|cell phone|microwave oven toaster sink refrigerator book clock vase scissors
|teddy bear|hair drier|toothbrush"""


@pytest.mark.parametrize("sentence", TABLE)
def test_phrases_of_a_sentence(sentence):
    found = noun_phrases(sentence)
    assert [phrase.text for phrase in found] == TABLE[sentence]
    assert all(sentence[phrase.start : phrase.end] == phrase.text for phrase in found)


def test_the_table_is_large():
    assert len(TABLE) >= 40


@pytest.mark.parametrize("sentence", NO_NOUN)
def test_a_sentence_without_nouns_is_refused_in_one_line(sentence):
    with pytest.raises(InputError, match="no noun") as caught:
        noun_phrases(sentence)
    assert "\n" not in str(caught.value)


def test_names_of_classes_are_phrases_of_themselves():
    groups = [group.strip() for group in COCO.replace("\n", " ").split("|")]
    two = {"traffic light", "fire hydrant", "stop sign", "parking meter", "sports ball", "baseball bat", "hair drier"}
    two |= {"baseball glove", "tennis racket", "wine glass", "hot dog", "potted plant", "dining table", "cell phone"}
    two |= {"teddy bear"}
    names = [name for group in groups for name in ([group] if group in two else group.split())]
    assert len(names) == 80
    for name in names:
        assert [phrase.text for phrase in noun_phrases(name)] == [name]
        assert [phrase.text for phrase in noun_phrases(f"a {name} on the {name}")] == [f"a {name}", f"the {name}"]


def test_a_phrase_is_spoken_without_its_determiners():
    said = {"a red cup": "red cup", "The two dogs": "dogs", "all the books": "books", "my sister's bag": "sister's bag"}
    said |= {"cup": "cup", "3 apples": "apples", "a cup of coffee": "cup of coffee", "a very small bird": "small bird"}
    assert {phrase: spoken_phrase(phrase) for phrase in said} == said


WORDS = [*sorted({word for sentence in TABLE for word in sentence.split()}), "'s", "--", "\u00e9", "\n", "\u732b", ""]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)))
@settings(max_examples=300, deadline=None)
def test_spans_lie_in_the_text_in_order_and_do_not_overlap(sentence):
    try:
        found = noun_phrases(sentence)
    except InputError:
        return
    assert found
    end = 0
    for phrase in found:
        assert end <= phrase.start < phrase.end <= len(sentence)
        assert sentence[phrase.start : phrase.end] == phrase.text == phrase.text.strip()
        assert spoken_phrase(phrase.text).strip()
        end = phrase.end


def test_a_sentence_must_be_text():
    with pytest.raises(InputError, match="text"):
        noun_phrases(["a cup"])
    with pytest.raises(InputError, match="known: rules, spacy"):
        noun_phrases("a cup", "trees")


def test_spacy_is_used_when_it_is_asked_for(monkeypatch):
    chunks = [SimpleNamespace(start_char=0, end_char=5), SimpleNamespace(start_char=9, end_char=16)]
    chunks += [SimpleNamespace(start_char=17, end_char=19)]  # a pronoun, as spaCy's chunks have them
    pipeline = SimpleNamespace(load=lambda name: lambda text: SimpleNamespace(noun_chunks=chunks))
    monkeypatch.setitem(sys.modules, "spacy", pipeline)
    found = noun_phrases("a cup on a table it", "spacy")
    assert [phrase.text for phrase in found] == ["a cup", "a table"]


def test_without_spacy_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingDependencyError, match="pip install spacy"):
        noun_phrases("a cup", "spacy")
