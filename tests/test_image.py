"""The image sense: any common picture file, decoded right or refused in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as pil

from clipx.errors import ClipxError, FileError, InputError
from clipx.modalities.image import Image
from clipx.pictures import on_white, open_picture


@pytest.fixture(scope="module")
def encoder(tiny_space):
    return Image(tiny_space)


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth (H, W, 3) uint8 picture whose corners all differ."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 128 + 0 * x], axis=2).round().astype(np.uint8)


def decoded(path) -> torch.Tensor:
    """A file's pixels as they are read, before they are resampled for a space: (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(on_white(open_picture(path)))).permute(2, 0, 1) / 255


def encoded(picture: pil.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("suffix", "format", "tolerance"),
    [(".png", "PNG", 0), (".bmp", "BMP", 0), (".webp", "WEBP", 0), (".jpg", "JPEG", 0.05), (".JPEG", "JPEG", 0.05)],
)
def test_every_format_gives_its_pixels(tmp_path, suffix, format, tolerance):
    path = tmp_path / f"picture{suffix}"
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    path.write_bytes(encoded(pil.fromarray(gradient()), format, **options))
    pixels = decoded(path)
    assert pixels.shape == (3, 40, 60) and pixels.dtype == torch.float32
    expected = torch.from_numpy(gradient()).permute(2, 0, 1) / 255
    torch.testing.assert_close(pixels, expected, atol=tolerance + 1e-6, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = gradient()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright[:, ::-1].transpose(1, 0, 2),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright[::-1].transpose(1, 0, 2),
    }[orientation]
    exif = pil.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(pil.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif))
    torch.testing.assert_close(decoded(path), torch.from_numpy(upright.copy()).permute(2, 0, 1) / 255)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2, :, 0], rgba[:2, :, 3] = 255, 255  # above: opaque red; below: transparent black
    rgba[0, 0, 3] = 51  # a fifth of red on white
    path = tmp_path / "clear.png"
    pil.fromarray(rgba).save(path)
    pixels = decoded(path)
    assert pixels[:, 3, 0].tolist() == [1, 1, 1] and pixels[:, 1, 1].tolist() == [1, 0, 0]
    assert pixels[:, 0, 0].tolist() == pytest.approx([1, 0.8, 0.8], abs=0.01)
    pil.fromarray(rgba).quantize(8).save(path)  # a palette with transparency
    assert decoded(path)[:, 3, 0].tolist() == [1, 1, 1]
    grey = pil.new("L", (4, 4), 7)
    grey.save(path, transparency=7)  # one grey level is transparent
    assert decoded(path).min() == 1


def test_grey_palette_bilevel_and_cmyk(tmp_path):
    ramp = np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)
    expected = torch.from_numpy(ramp).expand(3, 4, 4) / 255
    for mode in ("L", "LA", "P", "RGB", "RGBA"):
        path = tmp_path / f"{mode}.png"
        pil.fromarray(ramp).convert(mode).save(path)
        torch.testing.assert_close(decoded(path), expected)
    path = tmp_path / "bilevel.png"
    pil.fromarray(ramp > 100).save(path)
    assert decoded(path).unique().tolist() == [0, 1]
    path = tmp_path / "cmyk.jpg"
    pil.new("CMYK", (32, 32), (0, 255, 255, 0)).save(path, quality=95)
    assert decoded(path)[:, 5, 5].tolist() == pytest.approx([1, 0, 0], abs=0.03)


def test_16_bit_grey_is_scaled_not_cut(tmp_path):
    path = tmp_path / "deep.png"
    pil.fromarray(np.array([[0, 257 * 10, 257 * 128, 65535]], np.uint16)).save(path)
    assert (decoded(path)[0, 0] * 255).tolist() == pytest.approx([0, 10, 128, 255])


@pytest.mark.parametrize("shape", [(900, 1300), (1300, 900), (40, 60), (33, 32), (32, 32)])
def test_files_and_arrays_are_resampled_as_open_clip_does(encoder, tmp_path, shape):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    space = encoder.space
    whole = pil.fromarray(gradient(*shape))
    path = tmp_path / "photo.png"
    whole.save(path)
    config = PreprocessCfg(**{**space.preprocess.as_config(), "mean": [0, 0, 0], "std": [1, 1, 1]})
    theirs = image_transform_v2(config, is_train=False)(whole)
    for sample in (encoder.load(path), encoder.from_array(gradient(*shape))):
        assert torch.equal(space.preprocess.resize(sample[None])[0], theirs)
        assert torch.equal(encoder.encode([sample]).vectors, space.encode_image(theirs[None]))


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


@pytest.mark.filterwarnings("error")  # one line, and nothing beside it
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("text.jpg", b"this is no picture"),
        ("cut.png", encoded(pil.fromarray(gradient()), "PNG")[:-200]),
        ("cut.jpg", encoded(pil.fromarray(gradient()), "JPEG")[:400]),
        ("cut.webp", encoded(pil.fromarray(gradient()), "WEBP", lossless=True)[:60]),
        ("cut.bmp", encoded(pil.fromarray(gradient()), "BMP")[:-200]),
        ("bomb.png", png_header(60_000, 60_000)),
        ("large.png", png_header(12_000, 12_000)),
        ("wide.png", png_header(2**31 - 1, 1)),
        ("none.png", png_header(0, 0)),
        ("other.png", encoded(pil.fromarray(gradient()), "GIF")),
        ("picture.gif", encoded(pil.fromarray(gradient()), "GIF")),
    ],
)
def test_bad_files_are_refused_in_one_line(encoder, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        encoder.load(path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_files_and_folders_are_refused(encoder, tmp_path):
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "none.png", tmp_path / "folder.png", "a\0b.png"):
        with pytest.raises(FileError):
            encoder.load(path)


GOOD = [
    encoded(pil.fromarray(gradient(8, 8)), "PNG"),
    encoded(pil.fromarray(gradient(8, 8)), "JPEG"),
    encoded(pil.fromarray(gradient(8, 8)), "BMP"),
    encoded(pil.fromarray(gradient(8, 8)), "WEBP"),
]


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_raise_clipx_errors_only(encoder, tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(GOOD) | st.binary(min_size=1, max_size=200)))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    path = tmp_path / "damaged.png"
    path.write_bytes(content)
    try:
        pixels = encoder.load(path)
    except ClipxError:
        return
    assert pixels.shape[0] == 3 and pixels.min() >= 0 and pixels.max() <= 1


def test_arrays_are_taken_as_they_are(encoder):
    rgb = gradient(*encoder.space.image_size)  # nothing to resample
    expected = torch.from_numpy(rgb).permute(2, 0, 1) / 255
    assert torch.equal(encoder.from_array(rgb), expected)
    torch.testing.assert_close(encoder.from_array(rgb / 255), expected)
    grey = encoder.from_array(rgb[..., 0])
    assert grey.shape == (3, *rgb.shape[:2]) and torch.equal(grey[0], grey[2]) and torch.equal(grey[0], expected[0])
    grey += 1  # a copy: the data set stays as it was
    assert np.array_equal(rgb, gradient(*encoder.space.image_size))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 4)),
        np.zeros(4),
        np.zeros((0, 4)),
        np.full((4, 4), np.nan),
        np.full((4, 4), 200.0),
        np.full((4, 4), -1),
        np.full((4, 4), 256),
        np.zeros((4, 4), complex),
        np.zeros((4, 4), object),
    ],
)
def test_useless_arrays_are_refused(encoder, array):
    with pytest.raises(InputError):
        encoder.from_array(array)


@pytest.mark.parametrize(
    "sample", [torch.zeros(4, 4), torch.zeros(1, 4, 4), torch.full((3, 4, 4), 2.0), torch.full((3, 4, 4), torch.nan)]
)
def test_useless_samples_are_refused(encoder, sample):
    with pytest.raises(InputError):
        encoder.encode([sample])


def test_vector_does_not_depend_on_the_batch(encoder):
    pictures = [encoder.from_array(gradient(20 + i, 90 - i)) for i in range(70)]
    together = encoder.encode(pictures).vectors
    alone = torch.cat([encoder.encode([picture]).vectors for picture in pictures])
    assert (together - alone).abs().max() <= 1e-5
    assert torch.equal(together, encoder.encode(pictures).vectors)


def test_vector_is_the_space_s_own(encoder):
    picture = Image.example()
    direct = encoder.space.encode_image(picture[None])
    torch.testing.assert_close(encoder.encode([picture]).vectors, direct, atol=1e-6, rtol=0)
    shown = encoder.pictures(picture)
    assert torch.equal(shown[0], picture) and shown.data_ptr() != picture.data_ptr()


def test_quickdraw_arrays_are_dark_on_light(encoder, shared):
    path = shared / "data" / "images" / "quickdraw" / "quickdraw_64.npz"
    if not path.exists():
        pytest.skip("no QuickDraw")
    with np.load(path) as data:
        sample = encoder.from_array(data["images"][0])
    assert sample.shape == (3, *encoder.space.image_size) and sample.mean() > 0.5
