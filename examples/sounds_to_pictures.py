"""Find pictures by sounds.

    python examples/sounds_to_pictures.py
    python examples/sounds_to_pictures.py --tower runs/audio/tower

A tower that was trained for the frozen space encodes a sound; pictures nearest to its vector are found. No pair of a
picture and a sound is needed at any time: both were aligned with words.
"""

import argparse
import tempfile
from pathlib import Path

import soundfile

import clipx
from clipx.errors import InputError
from clipx.modalities.audio import synthesise

DATA = Path(__file__).parent / "data"
SOUNDS = ["helicopter", "rain"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the sounds; a temporary one by default")
    parser.add_argument("--tower", help="a trained tower's folder; by default the one clipx ships for the space")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)

    # Sounds made from nothing, as wave files: caricatures, and the same for everybody.
    files = []
    for label in SOUNDS:
        sound = synthesise(label, seed=1_000_003, seconds=3)
        files.append(out / f"{label}.wav")
        soundfile.write(files[-1], sound.samples[0], sound.sample_rate_hz)

    settings = {"tower": args.tower} if args.tower else {}
    try:
        sounds = clipx.embed(files, **settings)  # (2, D); a long sound is encoded in windows, and their mean is taken
    except InputError as error:
        print(f"skipped: {error}")
        return

    # Words first: what is it?
    for file, predictions in zip(
        files, clipx.classify(files, [*SOUNDS, "dog", "rooster", "bell"], **settings), strict=True
    ):
        print(f"{file.name:16} {predictions[0].label:12} {predictions[0].probability:.0%}")

    # Then pictures, by nothing but the cosine: both are vectors of one space.
    pictures = clipx.embed(sorted(DATA.glob("*.png")))
    for file, row in zip(files, sounds.similarity(pictures), strict=True):
        best = (-row).argsort()[:3].tolist()
        print(f"{file.name:16} " + ", ".join(f"{Path(pictures.ids[i]).name} {row[i]:.2f}" for i in best))


if __name__ == "__main__":
    main()
