"""Point clouds and meshes as a sense: files, projections, encoder."""

from clipx.modalities.pointcloud.encoder import Cloud, PointCloud
from clipx.modalities.pointcloud.files import read_geometry
from clipx.modalities.pointcloud.projection import pointclip_v1

__all__ = ["Cloud", "PointCloud", "pointclip_v1", "read_geometry"]
