"""The image sense: any common picture file, decoded right or refused in one line."""

import io
import math
import struct
import sys
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as pil

from clipx.errors import ClipxError, FileError, InputError, MissingDependencyError
from clipx.index.thumbnail import thumbnail
from clipx.modalities.image import Image
from clipx.pictures import as_rgb, on_white, open_picture, read_rgb


@pytest.fixture(scope="module")
def encoder(tiny_space):
    return Image(tiny_space)


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth (H, W, 3) uint8 picture whose corners all differ."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 128 + 0 * x], axis=2).round().astype(np.uint8)


def decoded(path) -> torch.Tensor:
    """A file's pixels as they are read, before they are resampled for a space: (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(on_white(open_picture(path), path))).permute(2, 0, 1) / 255


def encoded(picture: pil.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("suffix", "format", "tolerance"),
    [
        (".png", "PNG", 0),
        (".bmp", "BMP", 0),
        (".webp", "WEBP", 0),
        (".jpg", "JPEG", 0.05),
        (".JPEG", "JPEG", 0.05),
        (".jfif", "JPEG", 0.05),
        (".jpe", "JPEG", 0.05),
        (".tif", "TIFF", 0),
        (".TIFF", "TIFF", 0),
        (".gif", "GIF", 0.1),
        (".avif", "AVIF", 0.1),
        (".jpg", "PNG", 0),  # another format under the name of a JPEG
        (".jpg", "WEBP", 0),
        (".JPG", "GIF", 0.1),
        (".jpeg", "TIFF", 0),
        (".png", "BMP", 0),
        (".png", "JPEG", 0.05),
        (".heic", "JPEG", 0.05),  # an iPhone's "most compatible" under the old name
        (".jpg", "AVIF", 0.1),
        (".jpg", "JPEG2000", 0.05),
        (".jpg", "PPM", 0),
        ("", "PNG", 0),
        (".download", "JPEG", 0.05),
    ],
)
def test_the_content_decides_the_format(tmp_path, suffix, format, tolerance):
    path = tmp_path / f"picture{suffix}"
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format in ("JPEG", "AVIF") else {}
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


def odd_exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block as broken programs write it: an orientation, and tags of wrong types, counts and offsets."""
    entries = [
        (0x0112, 3, 1, struct.pack(order + "HH", orientation, 0)),
        (0x011A, 5, 1, struct.pack(order + "I", 0xFFFFFFF0)),  # a resolution that lies beyond the end
        (0x011B, 12, 1, struct.pack(order + "I", 170)),  # one as a double: NaN
        (0x0131, 2, 0, b"\0\0\0\0"),  # a text of no length
        (0x0132, 99, 7, b"\1\2\3\4"),  # of a type that is none
        (0x8769, 2, 1, b"x\0\0\0"),  # a folder of tags that is a text
        (0x8825, 4, 1, struct.pack(order + "I", 0x7FFFFFFF)),
        (0x9286, 9, 1, struct.pack(order + "i", -1)),
    ]
    block = struct.pack(order + "2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    for tag, kind, count, value in entries:
        block += struct.pack(order + "HHI", tag, kind, count) + value
    return (block + bytes(4)).ljust(170, b"\0") + struct.pack(order + "d", math.nan)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_tags_are_no_matter(tmp_path, format, order):
    upright = gradient()
    stored = pil.fromarray(np.ascontiguousarray(upright[:, ::-1].transpose(1, 0, 2)))
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    (tmp_path / "turned.jpg").write_bytes(encoded(stored, format, exif=b"Exif\0\0" + odd_exif(6, order), **options))
    expected = torch.from_numpy(upright.copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(decoded(tmp_path / "turned.jpg"), expected, atol=0.06, rtol=0)


@pytest.mark.filterwarnings("error")
def test_exif_that_says_no_orientation_turns_nothing(tmp_path):
    for block in (odd_exif(0), odd_exif(9), odd_exif(6)[:20], b"", b"II", b"junk" * 20):
        (tmp_path / "a.jpg").write_bytes(encoded(pil.fromarray(gradient()), "JPEG", exif=b"Exif\0\0" + block))
        assert decoded(tmp_path / "a.jpg").shape == (3, 40, 60)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\0\0\0\0\0\0"),  # a phone's depth or second picture, torn
        segment(0xE2, b"MPF\0junk"),
        segment(0xED, b"Photoshop 3.0\x008BIM\4\4"),
        segment(0xEE, b"Adobe"),
        segment(0xE0, b"JFIF\0"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 60_000),
        *(segment(0xE2, b"ICC_PROFILE\0" + bytes([1 + i % 9, 3]) + b"?" * 60_000) * 9 for i in range(2)),
        segment(0xFE, b"\xff\xd8" * 9),
        b"\xff\xff" + segment(0xEF, b"")[1:],
    ],
)
def test_segments_of_applications_are_no_matter(tmp_path, extra):
    data = encoded(pil.fromarray(gradient()), "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(data[:20] + extra + data[20:])
    expected = torch.from_numpy(gradient()).permute(2, 0, 1) / 255
    torch.testing.assert_close(decoded(tmp_path / "a.jpg"), expected, atol=0.06, rtol=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"tEXt", b"parameters\0" + b"a very long prompt " * 500_000),
        (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2**27))),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2**24))),
        (b"iTXt", b"\0\1"),
        (b"iCCP", b"sRGB\0\0" + zlib.compress(bytes(2**24))),
        (b"iCCP", b"sRGB\0\0torn"),
        (b"iCCP", b"sRGB\0\7"),
        (b"pHYs", b"\0"),
        (b"gAMA", b""),
        (b"caBX", b"\xff" * 9),
    ],
)
def test_png_text_and_colour_profiles_are_no_matter(tmp_path, kind, body):
    data = encoded(pil.fromarray(gradient()), "PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ (kind == b"caBX"))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:-12] + chunk + data[-12:])
    assert torch.equal(decoded(tmp_path / "a.png"), torch.from_numpy(gradient()).permute(2, 0, 1) / 255)


def test_the_first_frame_of_several(tmp_path):
    frames = [pil.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        (tmp_path / "a.gif").write_bytes(encoded(frames[0], format, save_all=True, append_images=frames[1:]))
        assert decoded(tmp_path / "a.gif")[:, 4, 4].tolist() == pytest.approx([1, 0, 0], abs=0.05)


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


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_of_few_bits_in_16_is_scaled_by_those_and_warned_of(tmp_path, bits, suffix):
    values = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16).reshape(16, 16)
    path = tmp_path / f"camera{suffix}"
    pil.fromarray(values).save(path)
    with pytest.warns(UserWarning, match=rf"camera{suffix}: its values are at most {2**bits - 1}: taken as {bits}-bit"):
        pixels = decoded(path)
    assert (pixels[0].flatten() * 255).round().tolist() == list(range(256))


@pytest.mark.filterwarnings("error")
def test_full_range_is_not_warned_of(tmp_path):
    for values in ([[0, 65535]], [[0, 0]], [[0, 4096 * 5]]):
        pil.fromarray(np.array(values, np.uint16)).save(tmp_path / "a.png")
        decoded(tmp_path / "a.png")
    pil.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "a.tif")
    assert decoded(tmp_path / "a.tif")[0, 0].tolist() == pytest.approx([0, 0.5, 1], abs=0.003)
    pil.new("L", (4, 4), 16).save(tmp_path / "a.png")  # dark, and so it was meant
    decoded(tmp_path / "a.png")


def rgb16_png(values: np.ndarray) -> bytes:
    """(H, W, 3) uint16 -> a PNG of 16 bits a channel, which Pillow reads but cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    out = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def test_what_stays_nearly_black_is_warned_of(tmp_path):
    path = tmp_path / "dark.png"
    for content in (
        rgb16_png(np.full((4, 4, 3), 4095)),
        encoded(pil.fromarray(np.full((4, 4), 9, np.uint16)), "PNG"),
        encoded(pil.new("RGB", (4, 4), (3, 2, 1)), "PNG"),
    ):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=r"dark.png: is nearly black: no value is above \d+ of 255"):
            decoded(path)


def test_modes_of_scanners_and_programs(tmp_path):
    path = tmp_path / "a.tif"
    lab = pil.merge("LAB", [pil.new("L", (8, 8), value) for value in (255, 128, 128)])
    for picture, wanted in ((lab, 1), (pil.new("CMYK", (8, 8)), 1), (pil.new("YCbCr", (8, 8), (255, 128, 128)), 1)):
        picture.save(path)
        assert decoded(path).mean() == pytest.approx(wanted, abs=0.02), picture.mode
    for values in (np.array([[-1000, 0, 1000]], np.int32), np.array([[-2.5, 0, 2.5]], np.float32)):
        pil.fromarray(values).save(path)
        with pytest.warns(UserWarning, match=r"a.tif: its values are -.* to .*: taken as black to white"):
            assert decoded(path)[0, 0].tolist() == pytest.approx([0, 0.5, 1], abs=0.003)
    pil.fromarray(np.array([[math.nan, 0, math.inf, 1]], np.float32)).save(path)
    assert decoded(path)[0, 0].tolist() == [0, 0, 0, 1]
    pil.fromarray(np.full((2, 2), math.nan, np.float32)).save(path)
    assert decoded(path).max() == 0
    grey = pil.fromarray(np.array([[5, 60000]], np.uint16))
    grey.save(tmp_path / "a.png", transparency=5)
    assert decoded(tmp_path / "a.png")[0, 0, 0] == 1


def test_warnings_leave_reader_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    for i in range(16):
        pil.fromarray(np.full((4, 4), 4095, np.uint16)).save(tmp_path / f"{i}.png")
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        list(pool.map(lambda i: decoded(tmp_path / f"{i}.png"), range(16)))
    assert len({str(warning.message) for warning in caught}) == 16


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
        assert np.array_equal(space.preprocess.resize(sample[None])[0], theirs)
        assert np.array_equal(encoder.encode([sample]).vectors, space.encode_image(theirs[None].numpy()))
        torch.testing.assert_close(space.encode_image(theirs[None]).numpy(), encoder.encode([sample]).vectors)


def photo(height: int, width: int) -> np.ndarray:
    """A (H, W, 3) uint8 picture with large things, edges and noise."""
    rng = np.random.default_rng(height)
    coarse = pil.fromarray(rng.integers(0, 255, (7, 9, 3), np.uint8)).resize((width, height), pil.Resampling.BICUBIC)
    picture = np.asarray(coarse) + rng.normal(0, 8, (height, width, 1))
    picture[height // 4 : height // 2, width // 3 : width // 2] = (250, 30, 60)
    return picture.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("shape", "wanted", "scale"), [((480, 800), (30, 64), 4), ((1603, 959), (100, 50), 8)])
def test_a_large_jpeg_is_decoded_at_a_reduced_size_upright(tmp_path, orientation, shape, wanted, scale):
    """What is resampled to 1/2 of its size or less may come from 1/2, 1/4, 1/8: at least twice what is asked for."""
    exif = pil.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(pil.fromarray(photo(*shape)), "JPEG", quality=95, exif=exif))
    whole, asked = open_picture(path), []

    def fitted(height, width):
        asked.append((height, width))
        return wanted if orientation < 5 else wanted[::-1]

    reduced = open_picture(path, fitted)
    assert asked == [(whole.height, whole.width)]
    assert reduced.size == (math.ceil(whole.width / scale), math.ceil(whole.height / scale))
    height, width = fitted(0, 0)
    assert reduced.height >= 2 * height and reduced.width >= 2 * width
    mine, theirs = (np.asarray(p.resize((width, height), pil.Resampling.BICUBIC), float) for p in (reduced, whole))
    assert np.abs(mine - theirs).mean() < 2


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_any_jpeg_may_be_reduced(tmp_path, mode, progressive):
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(pil.fromarray(photo(480, 800)).convert(mode), "JPEG", progressive=progressive))
    reduced, whole = open_picture(path, lambda height, width: (60, 100)), open_picture(path)
    assert reduced.mode == whole.mode == mode and reduced.size == (200, 120)
    small, expected = on_white(reduced), on_white(whole).resize((200, 120), pil.Resampling.BOX)
    assert np.abs(np.asarray(small, float) - np.asarray(expected, float)).mean() < 2


def test_what_is_not_far_larger_is_the_same_in_every_bit(tmp_path):
    """Less than four times what is asked for in either direction; and what is no JPEG."""
    picture = pil.fromarray(photo(399, 800))
    for format, wanted in [("JPEG", (100, 200)), ("JPEG", (10, 201)), ("PNG", (10, 10)), ("WEBP", (10, 10))]:
        path = tmp_path / f"a.{format}"
        path.write_bytes(encoded(picture, format))
        found = open_picture(path, lambda height, width, wanted=wanted: wanted)
        assert np.array_equal(np.asarray(found), np.asarray(open_picture(path)))


@pytest.mark.parametrize("shape", [(900, 1300), (1301, 899), (4000, 300)])
def test_vectors_of_large_jpegs_are_nearly_open_clip_s(encoder, tmp_path, shape):
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(pil.fromarray(photo(*shape)), "JPEG", quality=90))
    assert open_picture(path, encoder.space.preprocess.fitted).width < shape[1]
    whole = encoder.from_array(np.asarray(open_picture(path)))
    sample = encoder.load(path)
    assert np.abs(np.subtract(sample.shape, whole.shape)).max() <= 1
    vectors = encoder.encode([sample, whole]).vectors
    assert vectors[0] @ vectors[1] > 0.999


def test_large_jpegs_that_are_cut_short_or_too_large_are_refused(encoder, tmp_path):
    data = encoded(pil.fromarray(photo(900, 1300)), "JPEG")
    path = tmp_path / "a.jpg"
    for size in (len(data) // 2, len(data) - 1000):
        path.write_bytes(data[:size])
        with pytest.raises(FileError) as error:
            encoder.load(path)
        with pytest.raises(FileError) as expected:
            open_picture(path)
        assert str(error.value) == str(expected.value) and "truncated" in str(error.value)
    frame = data.index(b"\xff\xc0")
    path.write_bytes(data[: frame + 5] + struct.pack(">HH", 12_000, 12_000) + data[frame + 9 :])
    with pytest.raises(FileError, match="12000 x 12000 is more than 134,217,728 pixels"):
        encoder.load(path)


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
    ],
)
def test_bad_files_are_refused_in_one_line(encoder, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        encoder.load(path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


ISO = b"\0\0\0\x18ftyp%s\0\0\0\0%s" + bytes(99)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "it is a web page (HTML); download the picture"),
        (b"\xef\xbb\xbf\r\n<HTML>\xe9</HTML>", "it is a web page (HTML)"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "it is a PDF document; export its page as PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is an SVG drawing"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is an XML file"),
        (b"8BPS\0\1" + bytes(30), "it is a Photoshop file; save it as PNG or JPEG"),
        (b"\xff\x0a" + bytes(range(50)), "it is a JPEG XL picture"),
        (b"PK\x03\x04" + bytes(range(50)), "it is a ZIP archive; unpack it"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "a camera's raw file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"),
        (ISO % (b"qt  ", b"qt  "), "it is a video; save a frame"),
        (ISO % (b"M4A ", b"isom"), "it is a sound (M4A)"),
        (ISO % (b"avif", b"avif"), "it is a damaged AVIF picture; copy or download it again"),
        (b"GIF89a", "it is a damaged GIF"),
        (b"\xff\xd8\xff\xe0", "it is a damaged JPEG"),
        (bytes(5000), "all its 5,000 bytes are zero; copy it again"),
        (b'{"error": "rate limit exceeded"}', "it is text"),
    ],
)
def test_what_is_no_picture_is_named(encoder, tmp_path, content, said):
    (tmp_path / "IMG_1.jpg").write_bytes(content)
    with pytest.raises(FileError) as caught:
        encoder.load(tmp_path / "IMG_1.jpg")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_heic_is_read_by_its_extra(encoder, tmp_path, monkeypatch):
    """By a stand-in: the package's own decoder is tried below, where it is installed."""
    for i, brand in enumerate((b"heic", b"heix", b"mif1")):
        (tmp_path / f"{i}.HEIC").write_bytes(ISO % (brand, b"mif1"))
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(MissingDependencyError, match=r"HEIC.*pip install 'clipx-modalities\[heic\]'"):
            encoder.load(tmp_path / f"{i}.HEIC")


def test_heic_gives_its_pixels(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    for name in ("a.HEIC", "a.jpg"):
        pillow_heif.from_pillow(pil.fromarray(gradient())).save(tmp_path / name, quality=95)
        expected = torch.from_numpy(gradient()).permute(2, 0, 1) / 255
        torch.testing.assert_close(decoded(tmp_path / name), expected, atol=0.1, rtol=0)
    pillow_heif.register_heif_opener()
    stored = pil.fromarray(np.ascontiguousarray(gradient()[:, ::-1].transpose(1, 0, 2)))
    exif = pil.Exif()
    exif[0x0112] = 6
    for block in (exif.tobytes(), odd_exif(6)):  # as an iPhone writes it: in the container, and in EXIF once more
        (tmp_path / "turned.heic").write_bytes(encoded(stored, "HEIF", exif=block, quality=95))
        torch.testing.assert_close(decoded(tmp_path / "turned.heic"), expected, atol=0.1, rtol=0)


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


def test_a_photo_is_taken_as_users_hold_it(tmp_path):
    """A file, what PIL opens of it and its array are the same photo: upright, and white where nothing is."""
    rgb = gradient(12, 20)
    exif = pil.Exif()
    exif[0x0112] = 6  # turn it clockwise
    pil.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    pil.fromarray(np.dstack([rgb, np.full((12, 20), 64, np.uint8)])).save(tmp_path / "clear.png")
    for name, shape in (("turned.png", (3, 20, 12)), ("clear.png", (3, 12, 20))):
        file = as_rgb(tmp_path / name)
        assert file.shape == shape and file.dtype == np.float32 and np.array_equal(file, read_rgb(tmp_path / name))
        with pil.open(tmp_path / name) as picture:
            assert np.array_equal(as_rgb(picture), file)
    assert as_rgb(tmp_path / "clear.png").min() > 0.7
    expected = rgb.transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(as_rgb(rgb), expected) and np.allclose(as_rgb(rgb / 255), expected, atol=1e-7)
    with pytest.raises(InputError, match=r"must be \(H, W\) or \(H, W, 3\)"):
        as_rgb(expected)


def test_arrays_are_taken_as_they_are(encoder):
    rgb = gradient(*encoder.space.image_size)  # nothing to resample
    expected = rgb.transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(encoder.from_array(rgb), expected)
    np.testing.assert_allclose(encoder.from_array(rgb / 255), expected, atol=1e-7)
    grey = encoder.from_array(rgb[..., 0])
    assert grey.shape == (3, *rgb.shape[:2])
    assert np.array_equal(grey[0], grey[2]) and np.array_equal(grey[0], expected[0])
    grey += 1  # a copy: the data set stays as it was
    assert np.array_equal(rgb, gradient(*encoder.space.image_size))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 5)),
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
    alone = np.concatenate([encoder.encode([picture]).vectors for picture in pictures])
    assert np.abs(together - alone).max() <= 1e-5
    assert np.array_equal(together, encoder.encode(pictures).vectors)


def test_vector_is_the_space_s_own(encoder):
    picture = Image.example()
    direct = encoder.space.encode_image(picture[None])
    np.testing.assert_allclose(encoder.encode([picture]).vectors, direct, atol=1e-6)
    shown = encoder.pictures(picture)
    assert np.array_equal(shown[0], picture) and not np.shares_memory(shown, picture)


def test_a_tensor_is_a_sample_too(encoder):
    picture = Image.example()
    tensor = torch.from_numpy(picture)
    assert np.array_equal(encoder.encode([tensor]).vectors, encoder.encode([picture]).vectors)
    shown = encoder.pictures(tensor)
    assert type(shown) is np.ndarray and np.array_equal(shown[0], picture) and not np.shares_memory(shown, picture)


def test_quickdraw_arrays_are_dark_on_light(encoder, shared):
    path = shared / "data" / "images" / "quickdraw" / "quickdraw_64.npz"
    if not path.exists():
        pytest.skip("no QuickDraw")
    with np.load(path) as data:
        sample = encoder.from_array(data["images"][0])
    assert sample.shape == (3, *encoder.space.image_size) and sample.mean() > 0.5


def test_white_may_be_zero_in_16_bits(tmp_path):
    """Scanners and X-ray programs store grey so (TIFF's photometric 0)."""
    values = (np.arange(24 * 32).reshape(24, 32) * 80).astype(np.uint16)
    tags = {262: 0}
    pil.fromarray(values).save(tmp_path / "a.tif", tiffinfo=tags)
    shown = np.asarray(on_white(open_picture(tmp_path / "a.tif")))[..., 0]
    assert shown[0, 0] == 255
    assert (np.diff(shown.ravel().astype(int)) <= 0).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_damaged_tiffs_print_nothing(tmp_path, capfd, compression):
    path = tmp_path / "a.tif"
    data = bytearray(encoded(pil.fromarray(gradient(200, 300)), "TIFF", compression=compression))
    middle = len(data) // 2
    data[middle - 200 : middle + 200] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    with suppress(FileError):
        open_picture(path)
    path.write_bytes(data[:middle])
    with pytest.raises(FileError, match="truncated TIFF; copy or download it again"):
        open_picture(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("shape", [(20, 30), (96, 96), (224, 224), (224, 336), (300, 224), (700, 500)])
def test_thumbnails_show_the_picture_in_about_160_pixels(encoder, shape):
    height, width = shape
    sample = np.zeros((3, height, width), np.float32)
    sample[0, : height // 2], sample[1, :, width // 2 :], sample[2] = 1, 0.5, 0.25
    with pil.open(io.BytesIO(thumbnail(encoder, sample))) as shown:
        assert (shown.height, shown.width) == shape if max(shape) < 240 else 120 <= max(shown.size) <= 240
        assert shown.width / shown.height == pytest.approx(width / height, rel=0.02)
        quarter = [(shown.width * x // 4, shown.height * y // 4) for y in (1, 3) for x in (1, 3)]
        found = np.array([shown.getpixel(place) for place in quarter])
    expected = np.array([[255, 0, 64], [255, 128, 64], [0, 0, 64], [0, 128, 64]])
    assert np.abs(found - expected).max() < 12
