"""Point clouds and meshes to pictures."""

from clipx.modalities.pointcloud.projection.pixels import resized, to_input
from clipx.modalities.pointcloud.projection.v1 import SETTINGS, pointclip_v1
from clipx.modalities.pointcloud.projection.v2 import pointclip_v2, quantise

__all__ = ["SETTINGS", "pointclip_v1", "pointclip_v2", "quantise", "resized", "to_input"]
