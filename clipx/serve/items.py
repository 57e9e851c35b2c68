"""Opaque names of files and folders: a request names what the server showed before, and never a path."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from clipx.serve.security import Refused

KEPT = 200_000  # names that are remembered; the oldest are forgotten


@dataclass(frozen=True)
class Item:
    """A file of the index, or a place in it; or a folder.

    Args:
        path: absolute, or a URL.
        modality: what reads it; "" for a folder.
        start_s, end_s: the place in a file that lasts.
    """

    path: str
    modality: str = ""
    start_s: float | None = None
    end_s: float | None = None


class Names:
    """Hands out names of items, and knows those that it handed out."""

    def __init__(self) -> None:
        self._secret, self._lock = secrets.token_bytes(32), Lock()
        self._items: OrderedDict[str, Item] = OrderedDict()

    def give(self, item: Item) -> str:
        """The name of an item; the same one again for the same item."""
        digest = hmac.digest(self._secret, repr(item).encode("utf-8", "surrogateescape"), hashlib.sha256)
        name = base64.urlsafe_b64encode(digest[:18]).decode()
        with self._lock:
            self._items[name] = item
            self._items.move_to_end(name)
            if len(self._items) > KEPT:
                self._items.popitem(last=False)
        return name

    def item(self, name: str) -> Item:
        """What a name stands for. Raises Refused for one that was never handed out, or was forgotten."""
        with self._lock:
            if (found := self._items.get(name)) is None:
                raise Refused(404, "no such file: search again")
            self._items.move_to_end(name)
            return found
