"""Find the moment in films that were joined from clips at random.

    python examples/moments.py
    python examples/moments.py --data clips --films 5
    python examples/moments.py --data clips --films 5 --sounds sounds

Clips are joined to films, the films are indexed, and each clip is asked for by its caption: the best hit must be of the
right film, and its interval must overlap with the clip's by half of their union. Beside it stands how often the caption
finds the clip where each clip is a film of its own: what the space cannot tell, no cutting can find.

With ``--sounds`` some of the clips get a sound, one of each label, which is asked for by the label among the sound of
all films. Beside it stands how often the label finds the sound where each is a file of its own.
"""

import argparse
import csv
import random
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

import clipx
from clipx.films import pyav

DATA = Path(__file__).parent / "data"
RATE_HZ, SIZE, SOUND_HZ = 10, (320, 240), 44_100


def frames_of(path: Path) -> Iterator[Image.Image]:
    """A clip's frames at ``RATE_HZ``; a picture is one that the camera moves over for 4 s."""
    if path.suffix == ".png":
        picture = Image.open(path).convert("RGB").resize((300, 300))
        for step in range(4 * RATE_HZ):
            yield picture.crop((step // 2, step // 2, 280 + step // 2, 280 + step // 2))
        return
    with pyav().open(str(path)) as container:
        due = 0.0
        for frame in container.decode(video=0):
            while frame.time >= due - 1e-6:
                yield frame.to_image()
                due += 1 / RATE_HZ


def join(clips: list[Path], path: Path, sounds: dict[Path, Path] | None = None) -> list[tuple[float, float]]:
    """Write a film of clips, one after the other; when each begins and ends, in seconds.

    ``sounds``: clip -> the sound that goes with it, repeated to its length; the others are silent.
    """
    av, count, places = pyav(), 0, []
    how = av.video.reformatter.Interpolation
    exact = how.BICUBIC | how.ACCURATE_RND | how.BITEXACT
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", RATE_HZ, options={"crf": "18", "preset": "veryfast", "mbtree": "0"})
        stream.codec_context.thread_count = 1  # with this, and without mbtree, the same clips give the same film
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        sound = container.add_stream("flac", SOUND_HZ, layout="mono") if sounds else None
        for clip in clips:
            begun = count
            for picture in frames_of(clip):
                picture.thumbnail(SIZE)
                page = Image.new("RGB", SIZE)
                page.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
                frame = av.VideoFrame.from_image(page)
                container.mux(stream.encode(frame.reformat(format="yuv420p", interpolation=exact, threads=1)))
                count += 1
            places.append((begun / RATE_HZ, count / RATE_HZ))
        container.mux(stream.encode(None))
        if sounds and sound:
            waves = [wave(sounds.get(clip), end - begin) for clip, (begin, end) in zip(clips, places, strict=True)]
            block = av.AudioFrame.from_ndarray(np.concatenate(waves)[None], format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = SOUND_HZ, 0, Fraction(1, SOUND_HZ)
            container.mux([*sound.encode(block), *sound.encode(None)])
    return places


def wave(path: Path | None, seconds: float) -> np.ndarray:
    """(T,) int16 samples of a sound, repeated to that length; silence without one."""
    count = round(seconds * SOUND_HZ)
    if path is None:
        return np.zeros(count, np.int16)
    with pyav().open(str(path)) as container:
        resampler = pyav().AudioResampler(format="s16", layout="mono", rate=SOUND_HZ)
        blocks = [block.to_ndarray()[0] for frame in container.decode(audio=0) for block in resampler.resample(frame)]
    return np.resize(np.concatenate(blocks), count)


def read_sounds(folder: Path, chance: random.Random) -> dict[str, Path]:
    """Label -> one of its sounds, by labels.csv with path and label."""
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        rows = [(row["label"].replace("_", " "), folder / row["path"]) for row in csv.DictReader(file)]
    return {label: chance.choice([path for own, path in rows if own == label]) for label in sorted(dict(rows))}


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union of two intervals."""
    both = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return both / (max(one[1], other[1]) - min(one[0], other[0]))


def read(folder: Path | None) -> dict[Path, str]:
    """Clip -> caption, "" for what is never asked for: labels.csv with path and caption, or the examples' pictures."""
    if folder is None:
        return {path: path.stem.replace("_", " ") for path in sorted(DATA.glob("*.png"))}
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        return {folder / row["path"]: row["caption"] for row in csv.DictReader(file)}


def can_say(space: clipx.JointSpace, words: str) -> bool:
    """Whether the space knows these words."""
    try:
        space.require_words([words])
    except clipx.VocabularyError:
        return False
    return True


def show_hits(index: clipx.Index, asked: dict[str, tuple[Path, tuple[float, float]]], modality: str) -> float:
    """Print where each text is found and where it is; the share of right films with IoU 0.5."""
    right = 0
    for text, (film, place) in asked.items():
        hit = index.search(text, 1, modality=modality, ranking="cosine")[0]
        found = hit.path == str(film.absolute()) and overlap(place, (hit.start_s, hit.end_s)) >= 0.5
        right += found
        where = f"{film.name} {place[0]:5.1f} to {place[1]:5.1f} s"
        seen = f"{Path(hit.path).name} {hit.start_s:.1f} to {hit.end_s:.1f} s"
        print(f"{'found' if found else '     '} {text[:40]:40} {where}, hit {seen}")
    return right / len(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the films and the index; a temporary one by default")
    parser.add_argument("--data", type=Path, help="folder of clips with labels.csv: path, caption")
    parser.add_argument("--sounds", type=Path, help="folder of sounds with labels.csv: path, label")
    parser.add_argument("--films", type=int, default=2, help="how many films are made of the clips")
    parser.add_argument("--space", help="name of a joint space")
    parser.add_argument("--fps", type=float, default=1.0, help="frames of a second that are looked at")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)
    captions, chance = read(args.data), random.Random(args.seed)
    space = clipx.load_space(args.space) if args.space else clipx.load_space()

    clips = list(captions)
    chance.shuffle(clips)
    labels: dict[str, Path] = {}  # label -> its sound
    clip_of: dict[str, Path] = {}  # label -> the clip that its sound goes with
    if args.sounds:
        labels = {name: path for name, path in read_sounds(args.sounds, chance).items() if can_say(space, name)}
        clip_of = dict(zip(chance.sample(sorted(labels), len(labels)), clips, strict=False))
    sounds = {clip: labels[name] for name, clip in clip_of.items()}
    places: dict[Path, tuple[Path, tuple[float, float]]] = {}
    for number in range(args.films):
        own, film = clips[number :: args.films], out / f"film{number}.mp4"
        places |= {clip: (film, place) for clip, place in zip(own, join(own, film, sounds), strict=True)}
    alone = [out / f"clip{number}.mp4" for number in range(len(clips))]
    for clip, path in zip(clips, alone, strict=True):
        join([clip], path)

    asked = [clip for clip in clips if captions[clip]]
    space.require_words([captions[clip] for clip in asked])
    texts = space.encode_text([captions[clip] for clip in asked])
    vectors = clipx.embed(alone, space=space, fps=args.fps).vectors
    right = (texts @ vectors.T).argmax(1) == np.array([clips.index(clip) for clip in asked])
    with clipx.Index.create(out / "my.index", space) as index:
        index.add([out / f"film{number}.mp4" for number in range(args.films)], settings={"video": {"fps": args.fps}})
        found = show_hits(index, {captions[clip]: places[clip] for clip in asked}, "video")
        print(f"{len(asked)} captions, {len(clips)} clips in {args.films} films")
        print(f"R@1 of clips that are films of their own: {np.mean(right):.0%}")
        print(f"R@1 at IoU 0.5 in films: {found:.0%}")
        if clip_of:
            vectors = clipx.embed([labels[name] for name in clip_of], space=space).vectors
            right = (space.encode_text(list(clip_of)) @ vectors.T).argmax(1) == np.arange(len(clip_of))
            found = show_hits(index, {name: places[clip] for name, clip in clip_of.items()}, "audio")
            print(f"{len(clip_of)} labels of sounds, each with one clip")
            print(f"R@1 of sounds that are files of their own: {np.mean(right):.0%}")
            print(f"R@1 at IoU 0.5 of the sound of films: {found:.0%}")


if __name__ == "__main__":
    main()
