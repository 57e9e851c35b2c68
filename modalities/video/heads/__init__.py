"""Heads on frozen frame vectors, behind one interface: ``HeadNetwork``; those that there are: ``HEADS``."""

from clipx.modalities.video.heads.base import HeadNetwork
from clipx.modalities.video.heads.head import HEADS, Head, load_head, new_head

__all__ = ["HEADS", "Head", "HeadNetwork", "load_head", "new_head"]
