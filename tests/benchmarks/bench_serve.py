"""What the page waits for: python tests/benchmarks/bench_serve.py [--json] [--runs 40]

A real ``clipx serve`` on the index of bench_startup.py, 10,000 synthetic rows of the default space:

- address: from the start of the process until it prints its address
- first: from then until the first search is answered, which waits for the space
- text: a search by a sentence that was not asked before, from the request to the last of 60 hits
- known: the same again, when its vector is known
- server: of ``known``, what the search itself takes, as the answer says
- fifty: fifty different searches at once, until the last one is answered

Medians with the least and the most of the runs, in milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from bench_startup import CLIPX, make_index

NOUNS = ["chair", "dog", "house", "fish", "car", "tree", "cup", "bird", "boat", "clock"]
STARTS = 5


def ask(address: str, text: str) -> tuple[float, float]:
    """Milliseconds until the last hit of a search is here, and those that the search itself took."""
    parts = urlsplit(address)
    begun = time.perf_counter()
    line = http.client.HTTPConnection(parts.netloc, timeout=120)
    body = json.dumps({"terms": [{"text": text}], "k": 60})
    line.request("POST", f"{parts.path}api/v1/search", body, {"content-type": "application/json"})
    answer = line.getresponse()
    records = answer.read().splitlines()
    took = 1000 * (time.perf_counter() - begun)
    line.close()
    if answer.status != 200 or len(records) != 62:
        raise SystemExit(f"the search failed: {answer.status} {records[:1]}")
    return took, json.loads(records[-1])["search_ms"]


def start(db: Path) -> tuple[subprocess.Popen[str], str, float]:
    """The process, its address, and the milliseconds until it was printed."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*CLIPX, "serve", "--db", str(db)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    return process, address, 1000 * (time.perf_counter() - begun)


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(30)


def measure(runs: int) -> dict[str, list[float]]:
    """Figure -> milliseconds, one a run."""
    found: dict[str, list[float]] = {name: [] for name in ("address", "first", "text", "known", "server", "fifty")}
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "bench.index"
        make_index(db)
        for turn in range(STARTS + 1):
            process, address, printed = start(db)
            begun = time.perf_counter()
            ask(address, "a chair")
            if turn:  # the first one reads the disk
                found["address"].append(printed)
                found["first"].append(1000 * (time.perf_counter() - begun))
            if turn < STARTS:
                stop(process)
        for i in range(runs):
            text = f"a {NOUNS[i % 10]} and a {NOUNS[(i // 10 + i) % 10]} {i}"
            found["text"].append(ask(address, text)[0])
            took, own = ask(address, text)
            found["known"].append(took)
            found["server"].append(own)
        with ThreadPoolExecutor(50) as pool:
            for turn in range(STARTS):
                begun = time.perf_counter()
                list(pool.map(lambda i, turn=turn: ask(address, f"a {NOUNS[i % 10]} {i} {turn}"), range(50)))
                found["fifty"].append(1000 * (time.perf_counter() - begun))
        stop(process)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = {
        name: {"median": round(statistics.median(ms), 1), "least": round(min(ms), 1), "most": round(max(ms), 1)}
        for name, ms in measure(args.runs).items()
    }
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    for name, own in figures.items():
        print(f"{name:8} {own['median']:8.1f} ms  ({own['least']:.1f} to {own['most']:.1f})")


if __name__ == "__main__":
    main()
