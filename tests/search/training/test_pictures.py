"""Pictures of every kind: converted by what their format means, or refused with their name."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from autonba.errors import DataError
from autonba.search.training import pictures

SIXTEEN = np.array([[0, 128, 129, 1000, 32768, 65406, 65407, 65535]], dtype=np.uint16)
EIGHT = np.array([[0, 0, 1, 4, 128, 254, 255, 255]])  # round(v / 257)


def values(path, colour=False):
    return np.asarray(pictures.read(path, colour)).astype(int)


def refused(path, why):
    with pytest.raises(DataError) as caught:
        pictures.read(path, True)
    text = str(caught.value)
    assert text.startswith(f"{path}: the file must be a readable image (")
    assert text.endswith("); mend or remove it")
    assert why in text
    assert text.isprintable()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, depth, kind, row, width, *extra):
    """A PNG of one row; `kind` 0 grey, 2 colour, 4 grey with alpha, 6 colour with alpha."""
    head = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    data = chunk(b"IHDR", head) + b"".join(extra)
    data += chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_sixteen_bits_of_grey_are_scaled_to_eight(suffix, tmp_path):
    wide = np.repeat(np.repeat(SIXTEEN, 8, 0), 8, 1)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(wide))
    assert np.array_equal(values(path), np.repeat(np.repeat(EIGHT, 8, 0), 8, 1))
    assert not pictures.head(path).colour


def test_sixteen_bits_of_grey_in_the_other_order_of_bytes(tmp_path):
    image = Image.frombytes("I;16B", (8, 1), SIXTEEN.astype(">u2").tobytes())
    path = saved(tmp_path / "a.tif", image)
    assert np.array_equal(values(path), EIGHT)


def tiff(path, bits, photometric, data, width, sample_format=1):
    """A grey TIFF of one row."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 134)]
    tags += [(277, 1), (278, 1), (279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries
    path.write_bytes(head + struct.pack("<I", 0) + data)
    return path


def test_white_is_zero_and_twelve_bits(tmp_path):
    path = tiff(tmp_path / "a.tif", 16, 0, SIXTEEN.astype("<u2").tobytes(), 8)
    assert np.array_equal(values(path), 255 - EIGHT)
    path = tiff(tmp_path / "b.tif", 12, 1, bytes([0xFF, 0xF8, 0x00, 0x00, 0x0F, 0xFF]), 4)
    assert values(path).tolist() == [[255, 128, 0, 255]]


def test_grey_that_ends_at_another_number(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 1023 " + np.array([0, 512, 1023], ">u2").tobytes())
    assert values(tmp_path / "a.pgm").tolist() == [[0, 128, 255]]
    (tmp_path / "b.pgm").write_bytes(b"P5 3 1 15 " + bytes([0, 8, 15]))
    assert values(tmp_path / "b.pgm").tolist() == [[0, 136, 255]]


def test_sixteen_bits_of_colour(tmp_path):
    row = struct.pack(">6H", 0, 257, 65535, 0x8080, 0x1234, 0xFF00)
    path = png(tmp_path / "a.png", 16, 2, row, 2)
    assert values(path, True).tolist() == [[[0, 1, 255], [128, 0x12, 255]]]
    path = png(tmp_path / "b.png", 16, 6, struct.pack(">4H", 0, 0, 0, 0x8080), 1)
    assert values(path, True).tolist() == [[[127, 127, 127]]]
    path = png(tmp_path / "c.png", 16, 4, struct.pack(">4H", 0, 0x8080, 0x1010, 0xFFFF), 2)
    assert values(path).tolist() == [[127, 16]]
    assert not pictures.head(path).colour


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_on_white(mode, tmp_path):
    """Opaque grey, half and wholly transparent black."""
    pixels = np.array([[[90, 90, 90, 255], [0, 0, 0, 128], [0, 0, 0, 0]]], np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels).convert(mode))
    assert values(path).tolist() == [[90, 127, 255]]
    assert values(path, True).tolist() == [[[90] * 3, [127] * 3, [255] * 3]]
    assert pictures.head(path).colour == (mode == "RGBA")


def test_colours_stored_times_their_transparency(tmp_path):
    """Associated alpha of a TIFF: half transparent white is stored as half grey."""
    path = saved(tmp_path / "a.tif", Image.new("RGBA", (2, 2), (128, 128, 128, 128)))
    told = [struct.pack("<HHIHH", 338, 3, 1, alpha, 0) for alpha in (2, 1)]
    assert told[0] in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(*told))
    assert np.unique(values(path, True)).tolist() == [255]


def test_palettes(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    path = saved(tmp_path / "a.png", image)
    assert values(path, True).tolist() == [[[10, 20, 30], [200, 100, 50], [0, 0, 0]]]
    assert pictures.head(path).colour
    for name, transparency in (("b.png", bytes([255, 255, 128])), ("c.gif", 2)):
        path = saved(tmp_path / name, image, transparency=transparency)
        white = 127 if name == "b.png" else 255
        assert values(path, True).tolist() == [[[10, 20, 30], [200, 100, 50], [white] * 3]]


@pytest.mark.parametrize(
    ("depth", "kind", "row", "transparent", "expected"),
    [
        (1, 0, b"\x80", (1,), [[255, 0]]),
        (4, 0, b"\x5f", (5,), [[255, 255]]),
        (4, 0, b"\x5a", (10,), [[85, 255]]),
        (8, 0, b"\x0a\x14", (20,), [[10, 255]]),
        (16, 0, struct.pack(">2H", 1000, 2000), (2000,), [[4, 255]]),
        (8, 2, b"\x0a\x0a\x0a\x00\x00\x00", (0, 0, 0), [[10, 255]]),
    ],
)
def test_a_transparent_colour_is_white(depth, kind, row, transparent, expected, tmp_path):
    told = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    path = png(tmp_path / "a.png", depth, kind, row, 2, told)
    assert values(path).tolist() == expected


def test_other_modes(tmp_path):
    path = saved(tmp_path / "a.pbm", Image.fromarray(np.array([[True, False]])))
    assert values(path).tolist() == [[255, 0]]
    red = Image.new("RGB", (8, 8), (200, 30, 30))
    for name, mode in (("a.jpg", "CMYK"), ("b.tif", "CMYK"), ("c.tif", "YCbCr"), ("d.jpg", "RGB")):
        path = saved(tmp_path / name, red.convert(mode))
        assert np.abs(values(path, True) - [200, 30, 30]).max() <= 4
        assert pictures.head(path).colour
    assert np.abs(values(path) - round(0.299 * 200 + 0.701 * 30)).max() <= 2


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_set_upright(orientation, suffix, tmp_path):
    """A picture stored turned or mirrored, as cameras do, comes as it was seen."""
    seen = np.zeros((32, 48), np.uint8)
    seen[:16, :16], seen[16:, :24] = 255, 120
    stored = {
        1: seen,
        2: seen[:, ::-1],
        3: seen[::-1, ::-1],
        4: seen[::-1],
        5: seen.T,
        6: np.rot90(seen),
        7: seen[::-1, ::-1].T,
        8: np.rot90(seen, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    image = Image.fromarray(np.ascontiguousarray(stored)).convert("RGB")
    path = saved(tmp_path / f"a.{suffix}", image, exif=exif, **options)
    assert np.abs(values(path) - seen).max() <= 8


def frames(path, **options):
    first, second = (Image.new("RGB", (4, 4), c) for c in ("red", "blue"))
    return saved(path, first, save_all=True, append_images=[second], **options)


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.png", "a.webp"])
def test_several_pictures_in_a_file_are_refused(name, tmp_path):
    refused(frames(tmp_path / name), "it holds 2 pictures")


def test_a_camera_s_jpeg_with_previews_is_its_first_picture(tmp_path):
    path = tmp_path / "a.jpg"
    frames(tmp_path / "a.mpo").rename(path)
    assert np.abs(values(path, True) - [255, 0, 0]).max() <= 4


def test_pixels_without_a_certain_meaning_are_refused(tmp_path):
    floats = SIXTEEN.astype(np.float32)
    refused(saved(tmp_path / "a.tif", Image.fromarray(floats)), "floating-point")
    refused(saved(tmp_path / "b.tif", Image.fromarray(floats.astype(np.int32))), "signed")
    refused(tiff(tmp_path / "c.tif", 8, 1, b"\x80\x00", 2, sample_format=2), "signed")
    refused(saved(tmp_path / "d.pfm", Image.fromarray(floats)), "32-bit numbers")
    refused(saved(tmp_path / "e.tif", Image.new("LAB", (3, 3))), "mode LAB")
    told = chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    refused(png(tmp_path / "f.png", 16, 2, bytes(6), 1, told), "transparent colour")


def test_a_picture_of_which_nothing_is_seen_is_refused(tmp_path):
    refused(saved(tmp_path / "a.png", Image.new("RGBA", (3, 3))), "wholly transparent")
    told = chunk(b"tRNS", struct.pack(">H", 7))
    refused(png(tmp_path / "b.png", 16, 0, struct.pack(">H", 7), 1, told), "wholly transparent")


def test_files_that_are_no_whole_picture_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for suffix in ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm", "tga"):
        path = saved(tmp_path / f"a.{suffix}", noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refused(path, "")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "it is empty")
    (tmp_path / "notes.txt").write_text("hello, world\n" * 100)
    refused(tmp_path / "notes.txt", "no known format")
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    refused(tmp_path / "a.eps", "no known format")
    refused(tmp_path / "absent.png", "No such file")
    refused(tmp_path, "it is a folder")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "a pipe or a device")


def test_a_picture_of_too_many_pixels_is_refused_unread(tmp_path):
    refused(png(tmp_path / "a.png", 8, 0, b"", 70_000_000), "more than 67,108,864")
    refused(png(tmp_path / "b.png", 8, 0, b"", 100_000_000), "100000000")


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    """Changed bytes, random bytes: a picture, or the sentence."""
    rng = np.random.default_rng(5)
    image = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    whole = []
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "TGA", "PCX", "SGI"):
        stream = io.BytesIO()
        image.save(stream, kind)
        whole.append(stream.getvalue())
    path, refusals = tmp_path / "a.png", 0
    for turn in range(400):
        data = bytearray(whole[turn % len(whole)])
        for _ in range(rng.integers(1, 5)):
            data[rng.integers(min(len(data), 300))] = rng.integers(256)
        path.write_bytes(rng.bytes(300) if turn % 40 == 7 else data)
        try:
            pixels = np.asarray(pictures.read(path, True))
        except DataError:
            refusals += 1
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
    assert refusals > 50
