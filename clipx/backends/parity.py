"""How far one backend's vectors lie from another's: the same pictures and sentences through both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import FileError, InputError, UnsupportedError
from clipx.pictures import SUFFIXES, on_white, open_picture

if TYPE_CHECKING:
    from clipx.space import JointSpace

PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "retina.jpg", "page.png", "horse.png")
SIZES = ((224, 224), (97, 160), (320, 64), (31, 30))  # of drawn pictures: usual, wide, high, small
MOST, LONGEST = 64, 1024  # pictures of a folder; pixels of their longer side
SENTENCES = (
    "a chair",
    "a photo of a cat",
    "a red car in front of a white house, seen from above",
    "two dogs playing on the beach at sunset",
    "an oil painting of a sailing ship in a storm; the sky is dark, and the waves are as high as the mast",
    "NASA's rocket, 3... 2... 1!",
    "ein Hund und eine Katze auf dem Sofa",
    "une tasse de café sur une table en bois",
    "dos niños jugando al fútbol",
    "красный автомобиль",
    "一只猫坐在椅子上",
    "犬の写真",
    "قطة نائمة",
    "कुर्सी",
    "🐱 on a 🪑",
    "qwxz",
)


def pictures(folder: Path | None = None) -> list[np.ndarray]:
    """What the image towers of two backends are compared by, (1, 3, H, W) float32 in [0, 1] each.

    Photos that scikit-image brings, whole and cut; drawn ones of several sizes: noise, waves, a disc, one colour; and
    the first 64 of a folder.

    Raises:
        FileError: a picture of the folder cannot be read, or it holds none.
    """
    import skimage

    data = Path(skimage.__file__).parent / "data"
    photos = [_read(data / name) for name in PHOTOS]
    found = [*photos, *(photo[..., : photo.shape[2] // 2, photo.shape[3] // 3 :] for photo in photos)]
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        y, x = np.mgrid[:height, :width] / max(height, width)
        waves = (np.sin(40 * x) * np.sin(25 * y + 3 * x) + 1) / 2
        disc = ((x - x.mean()) ** 2 + (y - y.mean()) ** 2 < 0.04).astype(float)
        drawn = [waves * rng.random((3, 1, 1)), np.stack([disc, 1 - disc, disc]), np.full((3, height, width), 0.5)]
        found += [picture[None].astype(np.float32) for picture in [rng.random((3, height, width)), *drawn]]
    if folder is not None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:MOST]
        if not paths:
            raise FileError("holds no pictures", where=folder)
        found += [_read(path) for path in paths]
    return found


def _read(path: Path) -> np.ndarray:
    picture = on_white(open_picture(path))
    picture.thumbnail((LONGEST, LONGEST))
    return np.moveaxis(np.asarray(picture, np.float32) / 255, -1, 0)[None]


def compare(one: JointSpace, other: JointSpace, shown: Sequence[np.ndarray]) -> dict[str, Any]:
    """Differences between the vectors of two spaces, for each picture domain and for texts.

    Args:
        one: as it is defined.
        other: as it is served.
        shown: pictures, (1, 3, H, W) each, at least one.

    Returns:
        ``"photo"``, the other picture domains, and ``"text"`` -> ``cosine_distance``, the worst, its ``mean``, and the
        ``largest_difference`` of two components. Besides, ``pictures`` and ``texts``: how many; ``same_domain``: the
        share of pictures that both take for one of the same domain.
    """
    said = [text for text in SENTENCES if _reads(one, text)]
    found: dict[str, Any] = {"pictures": len(shown), "texts": len(said)}
    for domain in one.domains:
        first, second = (
            np.concatenate([space.domain(domain).encode_image(picture) for picture in shown]) for space in (one, other)
        )
        found[domain] = _distances(first, second)
    if said:
        found["text"] = _distances(one.encode_text(said), other.encode_text(said))
    named = [[space.encode_with_domain(picture)[1] for picture in shown] for space in (one, other)]
    found["same_domain"] = float(np.mean([a == b for a, b in zip(*named, strict=True)]))
    return found


def _reads(space: JointSpace, text: str) -> bool:
    """Whether it has a tokenizer, and a context that is long enough."""
    try:
        space.encode_text([text])
    except (InputError, UnsupportedError):
        return False
    return True


def _distances(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in map(np.float64, (one, other)))
    distance = ((first - second) ** 2).sum(1) / 2  # 1 less the cosine, without cancellation
    return {
        "cosine_distance": float(distance.max()),
        "mean": float(distance.mean()),
        "largest_difference": float(np.abs(one - other).max()),
    }
