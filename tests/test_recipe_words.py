"""The word table of the nano recipe: every label has one row, nobody says a withheld name, and relations hold."""

import csv
import importlib.util
import sys
from pathlib import Path

import pytest

from clipx.errors import InputError

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "nano"
ESC50 = """dog, rooster, pig, cow, frog, cat, hen, insects, sheep, crow, rain, sea_waves, crackling_fire, crickets,
chirping_birds, water_drops, wind, pouring_water, toilet_flush, thunderstorm, crying_baby, sneezing, clapping,
breathing, coughing, footsteps, laughing, brushing_teeth, snoring, drinking_sipping, door_wood_knock, mouse_click,
keyboard_typing, door_wood_creaks, can_opening, washing_machine, vacuum_cleaner, clock_alarm, clock_tick,
glass_breaking, helicopter, chainsaw, siren, car_horn, engine, train, church_bells, airplane, fireworks, hand_saw"""
URBANSOUND8K = """air_conditioner, car_horn, children_playing, dog_bark, drilling, engine_idling, gun_shot, jackhammer,
siren, street_music"""
MODELNET40 = """airplane, bathtub, bed, bench, bookshelf, bottle, bowl, car, chair, cone, cup, curtain, desk, door,
dresser, flower_pot, glass_box, guitar, keyboard, lamp, laptop, mantel, monitor, night_stand, person, piano, plant,
radio, range_hood, sink, sofa, stairs, stool, table, tent, toilet, tv_stand, vase, wardrobe, xbox"""
MODELNET10 = "bathtub, bed, chair, desk, dresser, monitor, night_stand, sofa, table, toilet"
DEPTH = "giant, extremely close, close, not in distance, a little remote, far, unseen"
STYLES = "photo, sketch, drawing, depth map, point cloud, rendering, silhouette, line drawing, sound"
PICTURE_SETS = ("caltech101", "quickdraw", "grocery_store", "clothing", "caltech256_5classes")
LISTS = ("esc50", "urbansound8k", "modelnet40", "depth", "styles")
HEADER = "name,synonyms,hypernyms,parts,places,withheld,kind\n"


def split(text: str) -> list[str]:
    return [label.strip() for label in text.replace("\n", " ").split(",")]


@pytest.fixture(scope="module")
def words():
    spec = importlib.util.spec_from_file_location("nano_words", RECIPE / "words.py")
    module = sys.modules["nano_words"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["nano_words"]


@pytest.fixture(scope="module")
def table(words):
    return words.load()


@pytest.mark.parametrize("labels", [ESC50, URBANSOUND8K, MODELNET40, DEPTH, STYLES], ids=LISTS)
def test_every_label_has_a_row(words, table, labels):
    names = [words.canonical(label, table) for label in split(labels)]
    assert len(set(names)) == len(names)  # two labels of one data set never share a row


def test_counts_and_kinds(words, table):
    assert len(split(ESC50)) == 50 and len(split(MODELNET40)) == 40
    assert all(table[words.canonical(label, table)].kind == "depth" for label in split(DEPTH))
    assert all(table[words.canonical(label, table)].kind == "style" for label in split(STYLES))
    modelnet10 = [table[words.canonical(label, table)].kind for label in split(MODELNET10)]
    assert set(modelnet10) <= {"picture", "procedural"}


@pytest.mark.parametrize("data_set", PICTURE_SETS)
def test_picture_labels(words, table, shared, data_set):
    with (shared / "data" / "images" / data_set / "labels.csv").open(encoding="utf-8", newline="") as file:
        labels = sorted({row["label"] for row in csv.DictReader(file)})
    names = [words.canonical(label, table) for label in labels]
    assert len(set(names)) == len(labels)
    assert {table[name].kind for name in names} == {"picture"}


def test_rows_are_full(table):
    pictured = [c for c in table.values() if c.kind in ("picture", "procedural")]
    assert all(c.synonyms and c.hypernyms and c.parts and c.places for c in pictured)
    assert all(c.hypernyms for c in table.values() if c.kind not in ("depth", "style"))


def test_withheld_names_are_said_nowhere_else(words, table):
    pictured = [c for c in table.values() if c.withheld and c.kind in ("picture", "procedural")]
    assert len(pictured) >= 40
    said = [p for c in table.values() for p in (c.name, *c.synonyms, *c.hypernyms, *c.parts, *c.places)]
    assert [(phrase, words.withheld_in(phrase, table)) for phrase in said if words.withheld_in(phrase, table)] == []


def test_hypernyms_are_acyclic(table):
    assert [name for name in table if name in table.above[name]] == []


def test_canonical_ignores_case_and_underscores(words, table):
    assert words.canonical("The Eiffel Tower", table) == "the eiffel tower"
    assert words.canonical("Night_Stand", table) == "night stand"
    assert words.canonical("rhinoceros", table) == words.canonical("rhino", table)
    with pytest.raises(InputError, match=r"nearest: .*airplane"):
        words.canonical("airplan", table)


def test_related(words, table):
    assert words.related("dalmatian", "dog", table) and words.related("dog", "dalmatian", table)
    assert words.related("chair", "seat", table)  # a part
    assert words.related("lion", "tiger", table)  # two big cats
    assert words.related("dog bark", "dog", table)
    assert not words.related("lion", "tiger", table, narrow=0)
    assert not words.related("dog", "cat", table)  # mammals are many
    assert not words.related("close", "far", table) and not words.related("red", "blue", table)
    assert words.related("lion", "tiger", dict(table))


def test_modelnet_classes_stay_plain_negatives(words, table):
    names = [words.canonical(label, table) for label in split(MODELNET10)]
    assert [(a, b) for a in names for b in names if a < b and words.related(a, b, table)] == []


def test_words_of_and_withheld_in(words, table):
    phrases = words.words_of(table)
    assert len(phrases) == len(set(phrases)) and {"airplane", "aeroplane", "kitchenware", "runway"} <= set(phrases)
    assert words.withheld_in("Two aeroplanes, parked.", table) == ["aeroplane"]
    assert words.withheld_in("an airplane on a runway", table) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,kind\n", "line 1: wrong header"),
        (HEADER + "dog,,animal,,,picture\n", "line 2: 6 fields"),
        (HEADER + "dog,,animal,,,,photograph\n", "line 2: unknown kind"),
        (HEADER + "dog,puppy|,animal,,,,picture\n", "line 2: bad phrase ''"),
        (HEADER + "Dog,,animal,,,,picture\n", "line 2: bad phrase 'Dog'"),
        (HEADER + "dog,,animal,,,,picture\nhound,dog,animal,,,,picture\n", "line 3: 'dog' is also on line 2"),
        (HEADER + "dog,,animal,,,hound,picture\nfox,hound,animal,,,,text\n", "line 3: 'hound' is also on line 2"),
    ],
)
def test_malformed_tables_are_refused_by_line(words, tmp_path, text, message):
    path = tmp_path / "words.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        words.load(path)
