"""Depth of a room from words of near and far.

    python examples/depth_from_words.py --out depth

Each place of the photo is compared with "this object is close", "this object is far" and so on. The softmax over the
words, times the distance that each word stands for, is the depth (after DepthCLIP, in the joint space itself).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import clipx
from clipx.modalities.depth import EstimateConfig, estimate, load_fit, read_rgb
from clipx.modalities.depth.maps import colored

ROOM = Path(__file__).parent / "data" / "rooms" / "room-1.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the map; a temporary one by default")
    out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)

    space = clipx.load_space()
    pixels = read_rgb(ROOM)  # (3, H, W) in [0, 1]

    # Words and bins are plain data. Fitted on nothing, their metres are a guess; at best their order means something.
    plain = EstimateConfig(words=("very close", "close", "far", "very far away"), bins=(1.0, 2.0, 5.0, 10.0))
    # A fit puts contexts around the words, and bins that suit them; this one learnt from other rooms of the same maker.
    # `clipx train depth` makes such a fit from a few photos of yours whose depth is known.
    fitted = EstimateConfig(fit=load_fit("rooms-words", space))
    for name, config in (("plain", plain), ("fitted", fitted)):
        depth = estimate(space, pixels, config)
        print(f"{name}: {tuple(depth.depth.shape)} {depth.unit}, {depth.depth.min():.2f} to {depth.depth.max():.2f}")

    # Each word's share is kept: what does the space take for far? (K, h, w), summing to 1 over the words.
    assert depth.responses is not None
    for word, share in zip(depth.words, depth.responses, strict=True):
        row, column = np.unravel_index(int(share.argmax()), share.shape)
        print(f"  {word:14} {share.mean():.2f} on average, most at cell ({row}, {column}): {share.max():.2f}")

    # What does a figure have to beat? A constant, and the mean map. That is measured by `clipx eval depth`.
    map_ = (colored(depth).permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(map_).save(out / "depth.png")
    np.savez(out / "depth.npz", depth_m=depth.depth.numpy(), responses=depth.responses.numpy(), words=list(depth.words))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
