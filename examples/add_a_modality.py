"""Attach a modality of your own: pictures typed as text.

    python examples/add_a_modality.py

The class below is all that a modality needs. As a package of its own it would also name the entry point
`text_art = "my_package:TextArt"` in the group `clipx.modalities`, and every command would then read .asc files.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import clipx
from clipx.errors import ContractError, FileError, InputError
from clipx.modality import Modality
from clipx.parts import Parts
from clipx.testing import checks

HOUSE = r"""
          /\
         /  \
        /    \
       /      \
      /        \
     /__________\
     |          |
     |  __   _  |
     | |__| | | |
     |      | | |
     |______|_|_|
"""


class TextArt(Modality):
    """A sample is an (H, W) float32 array: 1 where something was typed, 0 elsewhere."""

    name, suffixes, prompts = "text_art", (".asc",), "sketch"

    def load(self, path):
        # Raise FileError or InputError on a bad file, and nothing else: one bad file must not stop ten thousand.
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except (OSError, ValueError) as error:
            raise FileError("cannot be read as text", where=path) from error
        if not any(line.strip() for line in lines):
            raise InputError("nothing was typed", where=path)
        width = max(map(len, lines))
        return np.array([[c != " " for c in line.ljust(width)] for line in lines], np.float32)

    def parts(self, samples):
        # One by one: a vector must not depend on the batch it comes in.
        return Parts.whole(np.concatenate([self.space.encode_image(self.pictures(sample)) for sample in samples]))

    def pictures(self, sample):
        """What the space looks at, and what people are shown: (1, 3, H, W), dark on white, a letter 4 x 8 pixels."""
        ink = np.pad(sample.clip(0, 1).repeat(8, 0).repeat(4, 1), 16)
        return np.tile(1 - ink, (1, 3, 1, 1))

    @classmethod
    def example(cls):
        lines = HOUSE.strip("\n").splitlines()
        return np.array([[c != " " for c in line.ljust(20)] for line in lines], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for house.asc; a temporary one by default")
    out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)
    path = out / "house.asc"
    path.write_text(HOUSE, encoding="ascii")

    # A modality and a space: files in, unit vectors out. What clipx does with vectors works from here on.
    space = clipx.load_space()
    modality = TextArt(space)
    house = modality.encode([modality.load(path)])
    classifier = clipx.ZeroShotClassifier(space, ["house", "fish", "umbrella", "cup"], modality.prompts)
    for found in classifier.predict(house)[0]:
        print(f"{found.label:10} {found.probability:.0%}")

    # The contract, a check each. The entry point can only be found once the class is part of an installed package.
    for check in checks(TextArt):
        try:
            check(space)
            print("kept  ", check.name.replace("_", " "))
        except ContractError as error:
            print("broken", check.name.replace("_", " "), "-", error)


if __name__ == "__main__":
    main()
