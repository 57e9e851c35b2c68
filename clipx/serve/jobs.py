"""The jobs of panels: one runs, one waits, and both end when their page goes."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clipx.errors import ClipxError
from clipx.serve.security import Refused

if TYPE_CHECKING:
    from clipx.serve.panel import Panel

KEPT = 4  # finished jobs, whose results can be saved
UNHEARD_S = 10.0  # without a page that listens a job is stopped

State = Literal["waiting", "running", "done", "stopped", "failed"]


class Job:
    """A job of a panel; it is the ``clipx.serve.panel.Events`` of its own run.

    Args:
        panel: whose.
        path: of its file, or None.
        settings: as the page sent them.
    """

    def __init__(self, panel: Panel, path: Path | None, settings: Mapping[str, Any]):
        self.name = secrets.token_urlsafe(12)
        self.panel, self.path, self.settings = panel, path, settings
        self.state: State = "waiting"
        self.result: Any = None
        self.ending: dict[str, Any] = {}
        self.latest: dict[str, Any] = {}  # the last progress and the last partial result
        self._asked, self._listeners, self._heard = threading.Event(), 0, time.monotonic()
        self._lock = threading.Lock()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """See ``Events``."""
        self._report("progress", {"done": done, "total": total, "note": note})

    def partial(self, record: Mapping[str, Any]) -> None:
        """See ``Events``."""
        self._report("partial", dict(record))

    def stop(self) -> bool:
        """Whether it was asked to end, or nobody listens to it any more."""
        with self._lock:
            alone = not self._listeners and time.monotonic() - self._heard > UNHEARD_S
        return alone or self._asked.is_set()

    def ask_to_stop(self) -> None:
        """End it at its next step."""
        self._asked.set()

    def listen(self, change: int) -> None:
        """Count a page that listens (+1), or has gone (-1); the last one that goes ends the job."""
        with self._lock:
            self._listeners += change
            self._heard = time.monotonic()
            if change < 0 and not self._listeners:
                self._asked.set()

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self.state in ("done", "stopped", "failed")

    def run(self) -> None:
        """Do the work."""
        if self.stop():
            self._end("stopped", {})
            return
        self.state = "running"
        try:
            self.result = self.panel.run(self.path, self.settings, self)
            self._end("stopped" if self._asked.is_set() else "done", self.panel.summary(self.result))
        except ClipxError as error:
            self._end("failed", {"error": str(error)})
        except KeyboardInterrupt:  # stopped before there was a result
            self._end("stopped", {})
        except Exception as error:  # a fault of ours or of a library
            self._end("failed", {"error": f"{type(error).__name__}: {error}"})

    def _report(self, event: str, record: dict[str, Any]) -> None:
        with self._lock:
            self.latest[event] = record

    def _end(self, state: State, record: dict[str, Any]) -> None:
        with self._lock:
            self.ending = record
            self.state = state


class Jobs:
    """Runs jobs one after the other in a thread."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._running: Job | None = None
        self._waiting: Job | None = None

    def submit(self, job: Job) -> int:
        """Take a job; returns 0 where it runs now and 1 where it waits.

        Raises:
            Refused: one runs and another one waits.
        """
        with self._lock:
            if self._waiting is not None and not self._waiting.stop():
                raise Refused(409, "two jobs are under way: wait for one, or stop it")
            self._jobs[job.name] = job
            ended = [name for name, one in self._jobs.items() if one.ended]
            for name in ended[: max(0, len(ended) - KEPT)]:
                del self._jobs[name]
            if self._running is not None:
                if self._waiting is not None:
                    self._waiting.run()  # it was asked to stop: this says so to its page
                self._waiting = job
                return 1
            self._running = job
            threading.Thread(target=self._work, name="clipx-jobs", daemon=True).start()
            return 0

    def get(self, name: str) -> Job:
        """A job by its name. Raises Refused."""
        with self._lock:
            if (job := self._jobs.get(name)) is None:
                raise Refused(404, "no such job")
            return job

    def stop(self, name: str) -> None:
        """End a job at its next step, or now where it waits. Raises Refused."""
        job = self.get(name)
        job.ask_to_stop()
        with self._lock:
            if job is self._waiting:
                self._waiting = None
                job.run()  # which says so to its page, and does nothing

    def stop_all(self) -> None:
        """Ask all jobs to end."""
        with self._lock:
            for job in self._jobs.values():
                job.ask_to_stop()

    def _work(self) -> None:
        while (job := self._running) is not None:
            job.run()
            with self._lock:
                self._running, self._waiting = self._waiting, None
