"""What an agent waits for: python tests/benchmarks/bench_mcp.py [--json] [--runs 7]

In the index of ``bench_startup.py``, 10,000 synthetic rows of 512 dimensions in ``lite``:

- start: from the start of ``clipx mcp`` to its answer to ``initialize``, over stdio
- first search: by the first word, which loads the space and the null model of such queries
- search: by each of 20 other words
- search by a file of the index: by its stored vector, the first such query left out
- stats; describe, of a file of the index
- in memory: search by words through the SDK's in-memory client, without a process between

Seconds of the wall clock: medians over processes, or over calls in all of them, with the least and the most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = ["dog", "cat", "chair", "table", "car", "boat", "tree", "house", "bird", "fish"]
WORDS += ["horse", "cup", "lamp", "shoe", "hat", "clock", "guitar", "phone", "book", "apple"]
FILE = "/photos/00007.jpg"
CALLS = [
    ("stats", "stats", {}),
    ("first search", "search", {"text": "umbrella"}),
    *(("search", "search", {"text": word}) for word in WORDS),
    ("first search by a file", "search", {"path": FILE}),
    *(("search by a file", "search", {"path": f"/photos/{i:05}.jpg"}) for i in range(10, 20)),
    *(("describe", "describe", {"path": f"/photos/{i:05}.jpg"}) for i in range(10, 20)),
]


async def timed(client: Any, found: Mapping[str, list[float]], prefix: str = "") -> None:
    """Add the seconds of every call to ``found``."""
    for name, tool, arguments in CALLS:
        begun = time.perf_counter()
        result = await client.call_tool(tool, arguments)
        found[prefix + name].append(time.perf_counter() - begun)
        if result.is_error:
            raise SystemExit(f"{name}: {result.content[0].text}")


async def measure(db: Path, runs: int) -> dict[str, list[float]]:
    """Name -> seconds."""
    from mcp import Client, StdioServerParameters

    from clipx.index import Index
    from clipx.mcp_server import server

    found: dict[str, list[float]] = defaultdict(list)
    line = StdioServerParameters(command=sys.executable, args=["-m", "clipx", "mcp", "--db", str(db)])
    for turn in range(runs + 1):
        own: dict[str, list[float]] = defaultdict(list)
        begun = time.perf_counter()
        async with Client(line) as client:
            own["start"].append(time.perf_counter() - begun)
            await timed(client, own)
        if turn:  # the first one reads the disk
            for name, seconds in own.items():
                found[name] += seconds
    async with Client(server(lambda: Index.open(db))) as client:
        await timed(client, found, "in memory: ")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        db = Path(work) / "my.index"
        startup = Path(__file__).with_name("bench_startup.py")
        subprocess.run([sys.executable, startup, "--make-index", db], check=True)
        found = asyncio.run(measure(db, options.runs))
    rows = {
        name: {"median": statistics.median(seconds), "low": min(seconds), "high": max(seconds), "n": len(seconds)}
        for name, seconds in found.items()
    }
    if options.json:
        print(json.dumps({"runs": options.runs, "processors": os.cpu_count(), "seconds": rows}, indent=1))
        return
    for name, row in rows.items():
        print(f"{name:<34}{row['median']:>8.3f} s ({row['low']:.3f} to {row['high']:.3f}), n = {row['n']}")


if __name__ == "__main__":
    main()
