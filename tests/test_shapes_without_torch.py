"""Clouds, meshes and sketches are read, drawn and handed to a space without torch, which takes seconds to import."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"

CODE = """
import json, sys
from pathlib import Path
import numpy as np
from clipx.modalities.pointcloud import PROJECTIONS, PointCloud
from clipx.modalities.sketch import Sketch

HEAVY = ("torch", "torchvision", "open_clip", "scipy.signal", "trimesh", "skimage", "matplotlib", "safetensors")

class Space:
    id, image_size, dim = "none", (48, 48), 4

    def domain(self, name):
        return self

    def encode_image(self, pixels, normalize=True):
        assert isinstance(pixels, np.ndarray) and pixels.dtype == np.float32 and pixels.shape[1] == 3
        seen.append(pixels.shape)
        return np.tile(np.float32([0.5]), (len(pixels), 4))

def heavy(what):
    found[what] = [name for name in HEAVY if name in sys.modules]

found, seen, examples, space = {}, [], Path(sys.argv[1]), Space()
cloud = PointCloud(space)
cloud.encode([cloud.load(examples / "chair.off")])
sketch = Sketch(space)
Path("drawing.ndjson").write_text(json.dumps({"word": "a line", "drawing": [[[0, 9, 5], [0, 9, 2]]]}))
Path("other.svg").write_text(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'
    '<g transform="scale(2)"><rect width="3" height="2"/></g></svg>'
)
for path in (examples / "drawings" / "horse-8.svg", "drawing.ndjson", "other.svg"):
    sample = sketch.load(path)
    assert sketch.encode([sample]).vectors.shape == (1, 4) and isinstance(sketch.pictures(sample), np.ndarray)
    heavy(str(path))
found["numba for a cloud of usual size and small drawings"] = ["numba"] if "numba" in sys.modules else []
for projection, entry in PROJECTIONS.items():
    for up in (None, "auto"):
        cloud = PointCloud(space, PointCloud.Config(projection=projection, up=up, tta=2, points=600))
        for name in ("chair.off", "table.stl" if entry.mesh else "toilet.ply"):
            sample = cloud.load(examples / name)
            assert cloud.encode([sample, sample]).vectors.shape == (2, 4)
            assert isinstance(cloud.pictures(sample), np.ndarray)
    heavy(projection)
print(json.dumps([found, seen]))
"""


def test_nothing_heavy_is_imported_on_the_way_to_a_vector(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(EXAMPLES)], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert run.returncode == 0, run.stderr
    found, seen = json.loads(run.stdout)
    assert len(found) == 1 + 6 + 3 and not any(found.values()), found
    assert len(seen) == 1 + 6 * 2 * 2 * 2 + 3
