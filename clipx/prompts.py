"""Prompts: the words around a label before the text tower reads it.

A prompt set is a tuple of templates that hold ``{}``. Templates are taken as they stand, "a photo of a airplane"
included: CLIP's published figures, and the captions that embedded spaces are trained on, are made that way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clipx.errors import InputError

Prompts = str | Sequence[str] | Mapping[str, Sequence[str]]
"""A set's name, one template, several templates, or a dict of label -> its own sentences."""

_SETS: dict[str, tuple[str, ...]] = {
    "plain": ("{}",),
    "photo": ("a photo of a {}",),
    "pointcloud": ("a point cloud of a {}", "a depth map of a {}", "a rendering of a {}"),
    "pointclip": ("point cloud depth map of a {}.",),  # PointCLIP V1, arXiv 2112.02413
    "pointclip_few_shot": ("point cloud of a big {}.",),
    "clip2point": ("image of a {}",),  # arXiv 2210.01055
    "rendering": ("a rendering of a {}",),
    "sketch": ("a sketch of a {}", "a drawing of a {}"),
    "depth": ("a depth map of a {}",),
    "action": (  # arXiv 2109.08472, ActionCLIP's 16
        *("a photo of action {}", "a picture of action {}", "Human action of {}", "{}, an action"),
        *("{} this is an action", "{}, a video of action", "Playing action of {}", "{}"),
        *("Playing a kind of action, {}", "Doing a kind of action, {}", "Look, the human is {}"),
        *("Can you recognize the action of {}?", "Video classification of {}", "A video of {}"),
        *("The man is {}", "The woman is {}"),
    ),
    "sound": ("a sound of a {}", "a photo of a {}", "{}"),  # what the shipped tower was trained towards
}
_FROM_OPEN_CLIP = {
    "imagenet": "OPENAI_IMAGENET_TEMPLATES",  # the 80 of the CLIP paper
    "openai": "OPENAI_IMAGENET_TEMPLATES",
    "imagenet7": "SIMPLE_IMAGENET_TEMPLATES",  # the seven that carry most of the gain
}


def prompt_sets() -> list[str]:
    """The names that ``get_prompts`` knows, sorted."""
    return sorted([*_SETS, *_FROM_OPEN_CLIP])


def get_prompts(name: str) -> tuple[str, ...]:
    """The templates of a named set, each with one ``{}`` for the label.

    Raises:
        InputError: no set has that name.
    """
    if name in _SETS:
        return _SETS[name]
    if name not in _FROM_OPEN_CLIP:
        raise InputError(
            f"no prompt set named {name!r}", remedy=f"known: {', '.join(prompt_sets())}; a template holds {{}}"
        )
    from open_clip import zero_shot_metadata  # heavy

    return tuple(template("{}") for template in getattr(zero_shot_metadata, _FROM_OPEN_CLIP[name]))


def sentences(labels: Sequence[str], prompts: Prompts = "photo") -> list[list[str]]:
    """The sentences of each label: K lists of at least one. ``_`` in a label reads as a space.

    Args:
        labels: K labels.
        prompts: the name of a set; one template that holds ``{}``; several templates; or a dict of label -> sentences
            (as they stand, or with ``{}``), which must cover every label and may hold more.

    Raises:
        InputError: an unknown set, a template without ``{}``, no template at all, or a label the dict leaves out.
    """
    if isinstance(prompts, Mapping):
        return [_own_sentences(prompts, label) for label in labels]
    if isinstance(prompts, str):
        prompts = (prompts,) if "{}" in prompts else get_prompts(prompts)
    if not len(prompts):
        raise InputError("the tuple of prompts is empty", remedy="give at least one template, or leave it out")
    for template in prompts:
        if not isinstance(template, str) or "{}" not in template:
            raise InputError(f"template {template!r} does not say where the label goes", remedy="write {} there")
    return [[template.replace("{}", spoken(label)) for template in prompts] for label in labels]


def spoken(label: str) -> str:
    """The label as the text tower reads it: ``night_stand`` -> ``night stand``, runs of white space -> one space."""
    return " ".join(label.replace("_", " ").split())


def _own_sentences(prompts: Mapping[str, Sequence[str]], label: str) -> list[str]:
    own = prompts.get(label, ())
    own = (own,) if isinstance(own, str) else own  # a bare string would be read letter by letter
    filled = [sentence.replace("{}", spoken(label)) for sentence in own]
    if not filled or not all(sentence.strip() for sentence in filled):
        raise InputError(f"the prompts hold no sentence for label {label!r}", remedy="give every label at least one")
    return filled
