"""One index on disk for files of every modality, searched by a sentence, by any file, or by both together.

>>> with clipx.Index.create("my.index") as index:                              # doctest: +SKIP
...     index.add(["photos", "clouds"])
...     index.search("a dog on grass")[0].path
'/home/me/photos/rex.jpg'
"""

from clipx.index.index import Index
from clipx.index.search import Hit
from clipx.index.store import Store
from clipx.index.update import Added

__all__ = ["Added", "Hit", "Index", "Store"]
