#!/usr/bin/env bash
# Every job on this machine's GPU, then two benchmarks on it and on the CPU; a short report on stdout, in under 5 minutes.
#   tests/gpu/run.sh [cuda|mps] [PYTHON]
set -uo pipefail
cd "$(dirname "$0")/../.."
device=${1:-cuda}
python=${2:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
"$python" - "$device" <<'EOF' || exit 2
import platform, sys, torch
try:
    torch.zeros(1, device=sys.argv[1])
except (RuntimeError, AssertionError) as error:
    sys.exit(f"no {sys.argv[1]} here: {str(error).splitlines()[0]}")
name = torch.cuda.get_device_name() if sys.argv[1].startswith("cuda") else platform.processor()
print(f"{sys.argv[1]}: {name}; torch {torch.__version__}, Python {platform.python_version()}")
EOF
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
begun=$SECONDS

echo "## Tests"
timeout 200 "$python" -m pytest -q -m gpu -k "$device" tests/test_devices.py --durations=5 2>&1 | tail -n 40
status=${PIPESTATUS[0]}

echo "## Photos indexed (random weights of ViT-B-32, 512 photos of 500 x 375)"
"$python" - "$work/photos" <<'EOF'
import sys
from pathlib import Path
import numpy as np
from PIL import Image
folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
folder.mkdir()
for i in range(512):
    small = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    small.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg")
EOF
timeout 40 "$python" tests/benchmarks/bench_index.py throughput "$work/photos" --space random:ViT-B-32 --device "$device" ||
  echo "failed or took more than 40 s"

echo "## A drawing's step (random weights of RN101)"
timeout 40 "$python" tests/benchmarks/bench_sketch.py --tower random:RN101 --steps 20 --to-loss "" --device "$device" ||
  echo "failed or took more than 40 s"

echo "tests: $([ "$status" = 0 ] && echo passed || echo "FAILED ($status)"); $((SECONDS - begun)) s in all"
exit "$status"
