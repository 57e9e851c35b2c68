"""The one-liners, given objects of a program in the place of files."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import clipx
from clipx.errors import ContractError, FileError, InputError
from clipx.modality import Modality
from clipx.registry import modality_taking, object_takers

LABELS = ["cat", "chair", "table"]


@pytest.fixture
def space(spread_space, monkeypatch):
    monkeypatch.setattr("clipx.api.opened_space", lambda space, *more: spread_space)
    return spread_space


@pytest.fixture
def files(tmp_path):
    """Pictures as they come: a photo on its side, transparency, a palette, 16-bit grey, CMYK, several frames."""
    rng = np.random.default_rng(0)
    rgb = np.kron(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((9, 9, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = {
        "plain.png": Image.fromarray(rgb),
        "palette.png": Image.fromarray(rgb).quantize(7),
        "clear.png": Image.fromarray(np.dstack([rgb, rgb[..., 0]])),
        "deep.png": Image.fromarray(rgb[..., 0].astype(np.uint16) * 257),
        "cmyk.tif": Image.fromarray(rgb).convert("CMYK"),
        "moving.gif": Image.fromarray(rgb),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    return sorted(tmp_path.iterdir())


def test_a_pil_picture_is_its_file(space, files):
    """To the bit, whatever its mode; and the caller's picture stays as it was."""
    pictures = [Image.open(path) for path in files]
    modes = [(picture.mode, picture.size) for picture in pictures]
    assert len({mode for mode, _ in modes}) >= 4
    by_file, by_object = clipx.embed(files), clipx.embed(pictures)
    assert np.array_equal(by_object.vectors, by_file.vectors)
    assert np.linalg.norm(by_file.vectors[:, None] - by_file.vectors, axis=2).max() > 0.1  # not all alike
    assert by_object.modality == "image" and by_object.ids == tuple(f"[{i}]" for i in range(len(files)))
    assert [(picture.mode, picture.size) for picture in pictures] == modes
    assert clipx.classify(pictures, LABELS) == clipx.classify(files, LABELS)


def test_arrays_and_tensors_of_a_photo_are_the_photo(space, files):
    path = next(path for path in files if path.name == "plain.png")
    array = np.array(Image.open(path))
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    expected = clipx.embed(path).vectors
    for value in (array, tensor, array.astype(np.int64), np.asfortranarray(array), array[None], [array]):
        assert np.array_equal(clipx.embed(value).vectors, expected)
    floats = [clipx.embed(value).vectors for value in (array / 255, tensor / 255, (tensor / 255).requires_grad_())]
    assert all(np.array_equal(one, floats[1]) for one in floats[1:])
    np.testing.assert_allclose(floats[0], floats[1], atol=1e-5)  # of float64
    np.testing.assert_allclose(floats[1], expected, atol=0.05)  # resampled without rounding to bytes
    grey, clear = np.ascontiguousarray(array[..., 0]), np.dstack([array, array[..., :1]])
    for value in (grey, clear):
        assert np.array_equal(clipx.embed(value).vectors, clipx.embed(Image.fromarray(value)).vectors)
    assert np.abs(clipx.embed(clear).vectors - expected).max() > 1e-3
    np.testing.assert_allclose(clipx.embed(clear / 255).vectors, clipx.embed(clear).vectors, atol=0.05)


def test_points_are_a_cloud(space, tmp_path):
    points = (np.random.default_rng(0).normal(size=(300, 3)) * [1, 2, 5]).round(6)
    np.savetxt(tmp_path / "cloud.xyz", points)
    expected = clipx.embed(tmp_path / "cloud.xyz", up="z")
    for value in (points, torch.from_numpy(points)):
        found = clipx.embed(value, up="z")
        assert found.modality == "pointcloud"
        np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-6)
    assert np.abs(clipx.embed(points, up="x").vectors - expected.vectors).max() > 1e-4


def test_a_waveform_with_its_rate_is_a_sound(space, tmp_path):
    """As torchaudio and librosa load a file; soundfile has the channels last."""
    time_s = np.arange(32_000) / 16_000
    stereo = np.stack([np.sin(440 * 2 * np.pi * time_s), np.sin(990 * 2 * np.pi * time_s)]).astype(np.float32) / 2
    soundfile.write(tmp_path / "tones.wav", stereo.T, 16_000, "FLOAT")
    expected = clipx.embed(tmp_path / "tones.wav")
    for value in ((stereo, 16_000), (torch.from_numpy(stereo), 16_000), [(stereo.astype(np.float64), 16_000.0)]):
        found = clipx.embed(value)
        assert found.modality == "audio" and found.ids == ("[0]",)
        np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-6)
    assert np.abs(clipx.embed((stereo, 8_000)).vectors - expected.vectors).max() > 1e-4
    assert clipx.embed((stereo[0], 16_000)).vectors.shape == (1, space.dim)
    assert clipx.embed([(stereo, 16_000), tmp_path / "tones.wav"]).modality == "audio"


def test_files_and_objects_mix_in_their_order(space, files, tmp_path):
    points, picture = np.random.default_rng(0).normal(size=(300, 3)), Image.open(files[0])
    found = clipx.embed([str(files[1]), points, picture, files[2]])
    assert found.ids == (str(files[1]), "[1]", "[2]", str(files[2])) and found.modality == "image+pointcloud"
    for row, value in zip(found.vectors, (files[1], points, picture, files[2]), strict=True):
        np.testing.assert_allclose(row, clipx.embed(value).vectors[0], atol=1e-5)
    assert all(clipx.embed(nothing).vectors.shape == (0, space.dim) for nothing in ([], (), np.array([])))
    one, several = clipx.classify(picture, LABELS), clipx.classify(iter([picture]), LABELS)
    assert several == [one] and one[0].rank == 1


@pytest.mark.parametrize(
    ("value", "modality", "message"),
    [
        (3, None, "takes one or several files or objects, got builtins.int"),
        (None, None, "takes one or several files or objects, got builtins.NoneType"),
        ([None], None, r"\[0\]: no modality takes builtins.NoneType; give a file, .*a PIL picture.*points"),
        (np.zeros((2, 4, 4, 5)), None, r"\[0\]: no modality takes numpy.ndarray of \(4, 4, 5\)"),
        (np.zeros((4, 5, 7)), None, r"\[0\]: no modality takes numpy.ndarray of \(4, 5, 7\)"),  # not four of (5, 7)
        (torch.zeros(1, 4, 5), None, r"\[0\]: no modality takes torch.Tensor of \(1, 4, 5\)"),
        (np.zeros(5), None, r"\[0\]: no modality takes numpy.ndarray of \(5,\)"),
        (np.full((4, 4, 3), 255.0), None, r"\[0\]: .* must lie in \[0, 1\], got 255 to 255; divide it by 255"),
        (torch.zeros(3, 4, 4, device="meta"), None, r"\[0\]: the values of a torch.Tensor cannot be read"),
        (Image.new("RGB", (0, 4)), None, r"\[0\]: a picture of 0 x 4 has no pixels"),
        (np.full((4, 4, 3), 7.0), None, r"\[0\]: a picture of float64 must lie in \[0, 1\]"),
        (torch.full((3, 4, 4), torch.nan), None, r"\[0\]: a picture of float32 must lie in \[0, 1\]"),
        (np.zeros((5, 3)), None, r"\[0\]: a cloud needs two different points"),
        (torch.zeros(5, 4, 3), "image", r"\[\d\]: a tensor of a picture must be \(3, H, W\), got"),
        ([Image.new("RGB", (4, 4))], "pointcloud", r"\[0\]: points must be \(P, 3\) numbers"),
        ([np.zeros((9, 3))], "audio", r"\[0\]: expected a waveform and its rate in Hz, got ndarray"),
        (
            (np.zeros((32_000, 2)), 16_000),
            None,
            r"\[0\]: a waveform of 32000 channels and 2 samples; channels come first",
        ),
        ((np.zeros(99), 0), None, r"\[0\]: .*rate"),
        ((np.zeros(99), np.nan), None, r"\[0\]: a sampling rate of nan Hz"),
        ((np.full(99, np.nan), 16_000), None, r"\[0\]: has NaN or infinite samples"),
        ([np.zeros((9, 9))], "video", r"\[0\]: video takes files alone"),
        ([[[1], [2, 3]]], "image", r"\[0\]: the values of a builtins.list cannot be read"),
    ],
)
def test_what_is_no_object_of_a_modality_is_refused(space, value, modality, message):
    with pytest.raises(InputError, match=f"^{message}"):
        clipx.embed(value, modality=modality)


def test_a_damaged_picture_is_refused_in_one_line(space):
    """Pillow decodes at first use: a truncated file is noticed here."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    damaged = Image.open(io.BytesIO(file.getvalue()[:2000]))
    with pytest.raises(InputError, match=r"^\[0\]: not a readable picture: .*truncated"):
        clipx.embed(damaged)
    with Image.open(io.BytesIO(file.getvalue())) as closed:
        pass
    with pytest.raises(InputError, match=r"^\[0\]: not a readable picture: "):
        clipx.embed(closed)
    with pytest.raises(FileError, match=r"^gone\.png: no such file"):
        clipx.embed("gone.png")


def test_a_picture_that_is_given_several_times_is_decoded_once(space):
    """Pillow decodes at first use, and readers are threads."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    vectors = clipx.embed([Image.open(file)] * 8).vectors
    assert np.abs(vectors - vectors[0]).max() < 1e-5


def test_two_modalities_of_one_object_are_told(space, monkeypatch):
    class Greedy(Modality):
        objects = "anything"

        @classmethod
        def takes(cls, value):
            return isinstance(value, Image.Image)

    takers = {**object_takers(), "greedy": Greedy}
    monkeypatch.setattr("clipx.registry.object_takers", lambda: takers)
    with pytest.raises(ContractError, match=r"modalities 'image' and 'greedy' both take"):
        clipx.embed(Image.new("RGB", (4, 4)))
    assert modality_taking(Path("a.png")) is None
