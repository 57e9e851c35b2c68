"""Looks of photos: what a filter does for each, the words for it, and captions of several at a time."""

from __future__ import annotations

import random
import re

# name -> (group, slider -> its value, words for it); two looks of a photo are of different groups
LOOKS: dict[str, tuple[str, dict[str, float], str]] = {
    "dark": ("light", {"exposure": -1}, "dark,darker,dim,underexposed,gloomy"),
    "bright": ("light", {"exposure": 1}, "bright,brighter,light,lighter,overexposed,sunny"),
    "warm": ("warmth", {"temperature": 1}, "warm,warmer,golden,orange"),
    "cold": ("warmth", {"temperature": -1}, "cold,colder,cool,cooler,blue,bluish"),
    "grey": ("chroma", {"saturation": -1}, "black and white,monochrome,grey,gray,greyscale,colourless"),
    "muted": ("chroma", {"saturation": -0.5}, "muted,faded,washed out,pale,desaturated,dull"),
    "vivid": ("chroma", {"saturation": 1}, "vivid,colourful,colorful,saturated,vibrant,with vivid colours"),
    "hard": ("contrast", {"contrast": 1}, "high contrast,contrasty,of high contrast,with more contrast"),
    "flat": ("contrast", {"contrast": -1, "shadows": 0.4}, "low contrast,flat,hazy,foggy,soft,with less contrast"),
    "green": ("tint", {"tint": -1}, "green,greenish"),
    "pink": ("tint", {"tint": 1}, "pink,pinkish,magenta,purple"),
    "corners": ("corners", {"vignette": 1}, "vignette,with a vignette,with dark corners"),
    "film": (
        "all",
        {"temperature": 0.7, "saturation": -0.5, "vignette": 0.5, "shadows": 0.6, "highlights": -0.4},
        "old film,like an old film,vintage,retro,like an old photo",
    ),
    "night": ("all", {"exposure": -0.9, "temperature": -0.7, "saturation": -0.3}, "night,at night,moonlight"),
    "sunset": ("all", {"temperature": 0.9, "tint": 0.4, "saturation": 0.4, "exposure": -0.2}, "sunset,at sunset"),
    "winter": ("all", {"temperature": -0.6, "saturation": -0.4, "exposure": 0.5}, "winter,in winter"),
}
PLAIN = ("a photo", "a picture", "an image", "an ordinary photo", "a normal photo", "photo")
ONE = (
    "{}",
    "{}",
    "a {} photo",
    "a {} picture",
    "a photo, {}",
    "make it {}",
    "make the photo {}",
    "very {}",
    "a bit {}",
)
TWO = ("{} and {}", "{}, {}", "a {}, {} photo", "a {} and {} photo", "make it {} and {}", "make the photo {}, {}")
SOME = 0.5  # the least share of a look's sliders that its words stand for
JITTER = 0.1  # of every slider


def draw(rng: random.Random) -> tuple[tuple[str, ...], dict[str, float], str]:
    """Looks of a photo, sliders that give them, and words."""
    kind = rng.random()
    if kind < 0.15:
        return (), {}, rng.choice(PLAIN)
    first = rng.choice(list(LOOKS))
    names = [first]
    if kind > 0.6 and LOOKS[first][0] != "all":
        others = [name for name, (group, _, _) in LOOKS.items() if group not in ("all", LOOKS[first][0])]
        names.append(rng.choice(others))
    sliders: dict[str, float] = {}
    for name in names:
        amount = rng.uniform(SOME, 1)
        for slider, value in LOOKS[name][1].items():
            sliders[slider] = sliders.get(slider, 0) + amount * value
    words = [rng.choice(LOOKS[name][2].split(",")) for name in names]
    return tuple(sorted(names)), sliders, rng.choice(ONE if len(names) == 1 else TWO).format(*words)


def words() -> dict[str, str]:
    """Every word of the captions: those of looks were learnt from pictures."""
    looks = {word for _, _, text in LOOKS.values() for word in re.findall("[a-z]+", text)}
    others = {word for text in (*PLAIN, *ONE, *TWO) for word in re.findall("[a-z]+", text)}
    return dict.fromkeys(sorted(others - looks), "text") | dict.fromkeys(sorted(looks), "pictures")
