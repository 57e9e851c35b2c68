"""The wheel: built from the source as it stands, it holds every file of the packages and works from any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"clipx": "clipx", "modalities": "clipx/modalities"}  # in the source -> in the wheel
PIP = ["-m", "pip", "--disable-pip-version-check", "-q"]


def _run(*arguments, **options):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a copy of the source, so that nothing of an earlier build gets in and nothing is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    _run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder / "dist", source)
    (made,) = (folder / "dist").glob("*.whl")
    yield source, made


@pytest.fixture(scope="module")
def contents(wheel):
    with zipfile.ZipFile(wheel[1]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _about(contents, name):
    return next(text for path, text in contents.items() if path.endswith(f".dist-info/{name}")).decode()


def test_no_file_of_a_package_is_missing(wheel, contents):
    source, _ = wheel
    expected = {
        f"{inside}/{path.relative_to(source / folder).as_posix()}": path
        for folder, inside in FOLDERS.items()
        for path in (source / folder).rglob("*")
        if path.is_file()
    }
    assert not sorted(set(expected) - set(contents)), "pyproject.toml names packages and package data one by one"
    assert all(contents[name] == path.read_bytes() for name, path in expected.items())
    assert {name.split("/")[0] for name in contents if ".dist-info/" not in name} == {"clipx"}


def test_embedded_spaces_are_whole(contents):
    """lite, and whatever other spaces come with clipx, are there with their weights, words and card."""
    spaces = {name.split("/")[2] for name in contents if name.startswith("clipx/spaces/") and name.count("/") == 3}
    assert {"lite", "nano"} <= set(spaces)
    for space in spaces:
        held = {name.split("/")[3] for name in contents if name.startswith(f"clipx/spaces/{space}/")}
        assert held >= {"space.json", "open_clip_config.json", "weights.safetensors", "vocabulary.json", "README.md"}
        assert len(contents[f"clipx/spaces/{space}/weights.safetensors"]) <= 30e6


def test_metadata(contents):
    about = Parser().parsestr(_about(contents, "METADATA"))
    assert about["Name"] == "clipx-modalities"  # `clipx` and `modalities` on the index belong to others
    assert about["License-Expression"] == "Apache-2.0 AND CC-BY-4.0" and about["Requires-Python"] == ">=3.11"
    assert any(path.endswith("/LICENSE") for path in contents)


def test_entry_points_lead_to_files_of_the_wheel(contents):
    points = ConfigParser()
    points.read_string(_about(contents, "entry_points.txt"))
    groups = {f"clipx.{name}" for name in ("modalities", "tasks", "panels", "commands")}
    assert {"console_scripts", *groups} == set(points.sections())
    for group in points.sections():
        for name, value in points[group].items():
            stem = value.partition(":")[0].replace(".", "/")
            assert {f"{stem}.py", f"{stem}/__init__.py"} & set(contents), f"{group}: {name} = {value}"


ELSEWHERE = """
import clipx, clipx.modalities.pointcloud
from importlib.metadata import distributions
(ours,) = distributions(name="clipx-modalities", path=[{site!r}])
for point in ours.entry_points:
    point.load()
clipx.list_spaces(pretrained=False)
print(clipx.__file__, clipx.modalities.pointcloud.__file__)
"""


def test_the_installed_wheel_works_from_another_folder(wheel, tmp_path):
    site = tmp_path / "site"
    _run(*PIP, "install", "--no-deps", "--no-index", "--target", site, wheel[1])
    where = tmp_path / "elsewhere"
    where.mkdir()
    printed = _run("-c", ELSEWHERE.format(site=str(site)), cwd=where, env={**os.environ, "PYTHONPATH": str(site)})
    assert all(Path(line).is_relative_to(site) for line in printed.split())
    assert not list(where.iterdir())
