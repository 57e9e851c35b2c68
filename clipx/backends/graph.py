"""An ONNX graph that onnxruntime runs on the CPU: loaded at first use, the same bits every time, threads that sleep."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._threads import threads
from clipx.errors import SpaceError, first_line
from clipx.files import sha256_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class Graph:
    """A graph in a file; its weights may lie in another file of the same folder.

    It may be called in several threads at once. A session with its own threads serves callers that may use several
    (``clipx._threads.threads``), and one without serves those that may use one, such as the pool of the pipeline;
    each is made when first called for. No thread waits by spinning: on a busy machine that costs more than it saves.

    Args:
        path: the .onnx file.
        sha256: of that file; anything else is refused when it is loaded.
        one_by_one: run each row alone, of a graph whose results depend on the batch, as dynamic quantisation's do.
    """

    def __init__(self, path: str | PathLike, sha256: str | None = None, one_by_one: bool = False):
        self.path, self.sha256, self.one_by_one = Path(path), sha256, one_by_one
        self._sessions: dict[int, InferenceSession] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """What is copied or sent to another process: sessions are made again there."""
        return {"path": self.path, "sha256": self.sha256, "one_by_one": self.one_by_one}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, outputs: Sequence[str], **inputs: np.ndarray) -> list[np.ndarray]:
        """Run the graph.

        Args:
            outputs: names of what to compute.
            inputs: name -> array, whose rows are as many as those of the outputs.

        Raises:
            SpaceError: the file, or that of its weights, is missing or damaged.
            MemoryError: memory ran out.
        """
        try:
            return self._run(outputs, inputs)
        except RuntimeError as error:
            if "allocate" in str(error) or "bad_alloc" in str(error):  # onnxruntime has no class for it
                raise MemoryError(first_line(error)) from error
            raise

    def _run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        session, count = self._session(threads()), len(next(iter(inputs.values())))
        if not self.one_by_one or count == 1:
            return session.run(list(outputs), inputs)
        rows = [session.run(list(outputs), {k: v[i : i + 1] for k, v in inputs.items()}) for i in range(count)]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def _session(self, count: int) -> InferenceSession:
        with self._lock:
            if count not in self._sessions:
                self._sessions[count] = self._load(count)
            return self._sessions[count]

    def _load(self, count: int) -> InferenceSession:
        import onnxruntime

        if self.sha256 is not None and sha256_of(self.path) != self.sha256:
            raise SpaceError("is not the graph that was exported: its SHA-256 differs", where=self.path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = count, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors, which are raised as well
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each of its codes
            raise SpaceError(f"onnxruntime cannot load it: {first_line(error)}", where=self.path) from error
