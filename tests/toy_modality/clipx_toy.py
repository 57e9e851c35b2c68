"""Colours as a modality: a .hex file holds one colour, such as #ff8800, and the space looks at a patch of it."""

import re
from pathlib import Path

import numpy as np

from clipx.errors import FileError, InputError
from clipx.modality import Modality
from clipx.parts import Parts


class Colour(Modality):
    """A sample is a (3,) float32 array, RGB in [0, 1]."""

    name, suffixes, prompts = "colour", (".hex",), "plain"

    def load(self, path):
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise FileError("cannot be read as text", where=path) from error
        if not re.fullmatch("#[0-9a-fA-F]{6}", text):
            raise InputError(f"not a colour: {text[:20]!r}", where=path, remedy="write one as #rrggbb")
        return np.array(list(bytes.fromhex(text[1:])), np.float32) / 255

    def parts(self, samples):
        return Parts.whole(self.space.encode_image(np.concatenate([self.pictures(sample) for sample in samples])))

    def pictures(self, sample):
        return np.broadcast_to(sample[None, :, None, None], (1, 3, *self.space.image_size))

    @classmethod
    def example(cls):
        return np.array([1, 0.5, 0.1], np.float32)
