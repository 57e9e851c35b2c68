"""Prompt sets and how a label is said."""

import pytest

from clipx.errors import InputError
from clipx.prompts import get_prompts, prompt_sets, sentences, spoken


@pytest.mark.parametrize("name", prompt_sets())
def test_every_set_holds_templates_with_one_place_for_the_label(name):
    templates = get_prompts(name)
    assert templates and all(template.count("{}") == 1 for template in templates)
    assert len(set(templates)) == len(templates)


def test_the_imagenet_sets_are_open_clip_s_own():
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    assert len(get_prompts("imagenet")) == 80
    assert [t.replace("{}", "tench") for t in get_prompts("imagenet")] == [
        t("tench") for t in OPENAI_IMAGENET_TEMPLATES
    ]
    assert get_prompts("openai") == get_prompts("imagenet")
    assert set(get_prompts("imagenet7")) < set(get_prompts("imagenet"))


def test_pointclip_s_published_prompt():
    assert sentences(["night_stand"], "pointclip") == [["point cloud depth map of a night stand."]]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ("plain", ["night stand"]),
        ("a photo of the {}, a {}", ["a photo of the night stand, a night stand"]),
        (("a {}", "the {}"), ["a night stand", "the night stand"]),
        ({"night_stand": ["a table by a bed", "my {}"], "bed": ["a bed"]}, ["a table by a bed", "my night stand"]),
        ({"night_stand": "a table by a bed"}, ["a table by a bed"]),
    ],
)
def test_forms_of_prompts(prompts, said):
    assert sentences(["night_stand"], prompts) == [said]


def test_braces_and_format_codes_in_a_label_are_only_text():
    assert sentences(["{0.__class__} {x}"], "a {}") == [["a {0. class } {x}"]]


def test_spoken():
    assert spoken("  night_stand\t lamp ") == "night stand lamp"


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("imagnet", "no prompt set named 'imagnet'; known: action, clip2point, depth, imagenet"),
        ("a photo of a dog", "no prompt set named"),
        (("a photo of a dog",), "does not say where the label goes"),
        ((), "empty"),
        ((1,), "does not say"),
        ({"cat": ["a cat"]}, "no sentence for label 'dog'"),
        ({"dog": []}, "no sentence for label 'dog'"),
        ({"dog": ["  "]}, "no sentence for label 'dog'"),
    ],
)
def test_unusable_prompts_are_refused(prompts, message):
    with pytest.raises(InputError, match=message):
        sentences(["dog"], prompts)
