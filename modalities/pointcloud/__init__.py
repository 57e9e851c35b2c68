"""Point clouds and meshes as a sense: files, projections, encoder."""

from clipx.modalities.pointcloud.cloud import Cloud, Mesh
from clipx.modalities.pointcloud.encoder import PointCloud
from clipx.modalities.pointcloud.files import read_geometry
from clipx.modalities.pointcloud.projection import PROJECTIONS, pointclip_v1, project

__all__ = ["PROJECTIONS", "Cloud", "Mesh", "PointCloud", "pointclip_v1", "project", "read_geometry"]
