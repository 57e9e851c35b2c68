"""A stranger's package: built, installed, found by its entry point and held to the contract, as our own senses are."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import clipx
from clipx import registry
from clipx.cli import main
from clipx.errors import ContractError, InputError
from clipx.testing import checks


@pytest.fixture
def sees(monkeypatch):
    """Puts a folder on the path and lets the registry look again."""

    def forget():
        for cached in vars(registry).values():
            if hasattr(cached, "cache_clear"):
                cached.cache_clear()

    def look(folder):
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        forget()

    yield look
    monkeypatch.undo()
    importlib.invalidate_caches()
    forget()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The toy distribution, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("toy")
    source = shutil.copytree(Path(__file__).parent / "toy_modality", folder / "source")  # the build writes beside it
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    yield folder / "site"
    sys.modules.pop("clipx_toy", None)


def test_a_third_party_modality_keeps_the_contract(installed, sees, tiny_space):
    sees(installed)
    colour = registry.get_modality("colour")
    assert colour.__module__ == "clipx_toy" and Path(sys.modules["clipx_toy"].__file__).parent == installed
    for check in checks(colour):
        check(tiny_space)


def test_a_folder_that_hides_the_package_is_named(tmp_path):
    """In an editable install, a script beside a clone sees the clone's folder as a package without __init__.py."""
    hidden = "import sys, types; sys.modules['clipx'] = m = types.ModuleType('clipx')"
    hidden += f"; m.__file__ = None; m.__path__ = [{str(Path(clipx.__file__).parent)!r}]; import clipx.errors"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: the folder ")
    assert "hides the package clipx; rename it" in done.stderr


def test_third_party_files_are_classified(installed, sees, tiny_space, tmp_path):
    sees(installed)
    (tmp_path / "orange.hex").write_text("#ff8800\n")
    assert registry.modality_of(tmp_path / "ORANGE.HEX") == "colour"
    (best,) = clipx.classify(tmp_path / "orange.hex", ["orange", "blue"], space=tiny_space, top=1)
    assert best.label in ("orange", "blue")
    assert clipx.embed(tmp_path / "orange.hex", space=tiny_space).modality == "colour"


def test_without_it_nobody_reads_its_files(tmp_path):
    with pytest.raises(InputError, match="no modality named 'colour'; installed: audio, bound, depth, image"):
        registry.get_modality("colour")
    with pytest.raises(InputError, match=r"no modality reads \.hex"):
        registry.modality_of("orange.hex")


def _distribution(folder, name, entry_points, **modules):
    """The least that importlib.metadata takes for an installed distribution."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[clipx.modalities]\n" + "\n".join(entry_points) + "\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder


def test_two_owners_of_one_name_are_an_error(sees, tmp_path):
    sees(_distribution(tmp_path, "rival", ["image = rival_of_image:Image"]))
    with pytest.raises(ContractError, match=r"two plug-ins are named 'image': .*rival_of_image:Image"):
        registry.get_modality("image")
    assert registry.modality_of("a.xyz") == "pointcloud"  # the others go on
    with pytest.raises(InputError, match=r"no modality reads \.png; known: .*broken plug-ins: image"):
        registry.modality_of("a.png")
    assert "two plug-ins are named 'image'" in _told()["image"]


def _told():
    """Modality -> what ``clipx doctor`` says of it where it is broken, and ``clipx modalities`` as well."""
    from clipx.cli.doctor import _modalities
    from clipx.cli.modalities import modality_health

    lines = {line["name"].removeprefix("modality "): line for line in _modalities()}
    assert list(lines) == list(registry.registered(registry.MODALITIES))
    for name, line in lines.items():
        assert modality_health(name)["ok"] == (line["state"] == "ok")
    return {name: line["detail"] for name, line in lines.items() if line["state"] == "broken"}


NO_SUFFIXES = "from clipx.modality import Modality\nclass Thing(Modality): name = 'thing'"


@pytest.mark.parametrize("text", ["1 / 0", NO_SUFFIXES])
def test_a_broken_plug_in_stops_nobody_else(sees, tmp_path, text):
    sees(_distribution(tmp_path, "things", ["thing = clipx_things:Thing"], clipx_things=text))
    sys.modules.pop("clipx_things", None)
    assert registry.modality_of("a.png") == "image"
    with pytest.raises(InputError, match=r"no modality reads \.thing; .*broken plug-ins: thing \(see clipx modalities"):
        registry.modality_of("a.thing")
    assert list(_told()) == ["thing"] and "clipx_things:Thing" in _told()["thing"]


def test_a_broken_config_stops_nobody_else(sees, tmp_path):
    from clipx.cli._flags import _settings

    text = "from clipx.modality import Modality\nclass Thing(Modality):\n    name, suffixes, Config = 'thing', (), 3\n"
    sees(_distribution(tmp_path, "things", ["thing = clipx_things:Thing"], clipx_things=text))
    sys.modules.pop("clipx_things", None)
    assert "up" in _settings(set())


def test_the_version_of_a_modality_is_its_package_s(installed, sees):
    sees(installed)
    assert registry.version_of("colour") == "1.0" and registry.version_of("image") and not registry.version_of("smell")


def test_two_owners_of_one_suffix_are_an_error(sees, tmp_path):
    text = "from clipx.modality import Modality\nclass Icon(Modality):\n    name, suffixes = 'icon', ('.png',)\n"
    sees(_distribution(tmp_path, "icons", ["icon = clipx_icons:Icon"], clipx_icons=text))
    with pytest.raises(ContractError, match=r"'icon' and 'image' both claim \.png"):
        registry.modality_of("a.png")
    assert registry.modality_of("a.jpg") == "image"


@pytest.mark.parametrize(
    "text", ["Thing = 3", "class Thing: name = 'thing'", "from clipx.modality import Modality as Thing"]
)
def test_what_is_no_modality_is_refused(sees, tmp_path, text):
    sees(_distribution(tmp_path, "things", ["thing = clipx_things:Thing"], clipx_things=text))
    sys.modules.pop("clipx_things", None)
    with pytest.raises(ContractError, match="clipx_things:Thing is not a Modality named 'thing'"):
        registry.get_modality("thing")


@pytest.mark.parametrize("text", ["import a_package_that_nobody_has", "Other = 3", "1 / 0", "def"])
def test_what_cannot_be_imported_is_named(sees, tmp_path, text):
    sees(_distribution(tmp_path, "things", ["thing = clipx_things:Thing"], clipx_things=text))
    sys.modules.pop("clipx_things", None)
    with pytest.raises(ContractError, match=r"'thing' \(clipx_things:Thing\) cannot be imported: .*uninstall"):
        registry.get_modality("thing")


TWO_WORDS = """
def measure(folder: str, deep: int = 1) -> None:
    \"\"\"Measure things.

    Example: clipx eval thing FOLDER
    \"\"\"
    print("measured", folder, deep)
"""


def test_a_command_of_two_words_comes_before_that_of_the_first(sees, tmp_path, capsys):
    points = ["[clipx.commands]", "eval thing = clipx_things:measure"]
    sees(_distribution(tmp_path, "things", points, clipx_things=TWO_WORDS))
    sys.modules.pop("clipx_things", None)

    def told(*args):
        capsys.readouterr()
        return main([*args]), *capsys.readouterr()

    assert told("eval", "thing", "here", "--deep", "2") == (0, "measured here 2\n", "")
    assert "clipx eval thing [OPTIONS]" in told("eval", "thing", "--help")[1]
    assert "clipx eval [OPTIONS]" in told("eval", "--help")[1]
    assert " eval thing " in told("--help")[1]
    for wrong, message in (
        (["eval", "thing"], "Missing argument 'folder'; see clipx eval thing --help"),
        (["eval", "thing", "here", "--deep", "x"], "see clipx eval thing --help"),
        (["eval", "think", "here"], "no modality named 'think'"),
        (["evla", "thing"], "Did you mean 'eval'?"),
    ):
        status, out, err = told(*wrong)
        assert (status, out, err.count("\n")) == (2, "", 1) and message in err
