"""Every mode of Pillow comes out as NumPy says, or is refused by name; no header is believed."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ressearch.data.images import MOST_PIXELS, channels_of, decode
from ressearch.errors import DataError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (13, 17)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (13, 17, 1), dtype=np.uint8)
FORMATS = ("PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM")


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def grey(colour: np.ndarray) -> np.ndarray:
    """ITU-R 601, as Pillow rounds it."""
    red, green, blue = (colour[..., at].astype(np.int64) for at in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def png(pixels: np.ndarray, kind: int, bits: int) -> bytes:
    """A PNG written by hand, as Pillow writes no 16-bit colours."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def cases() -> dict[str, tuple[bytes, int, np.ndarray]]:
    """Encoded image, channels, and the pixels that it holds, shape (height, width[, 3])."""
    bits = Image.fromarray(BYTES > 127)
    palette = Image.fromarray(COLOUR).quantize(64)
    colours = np.array(palette.getpalette(), np.uint8).reshape(-1, 3)[np.array(palette)]
    ink = RNG.integers(0, 256, (13, 17, 4), dtype=np.uint8)
    paper = 255 - ink.astype(np.int64)
    wide = DEEP[..., None] ^ np.array([0, 21845, 43690], np.uint16)
    found = {
        "1": (encoded(bits, "PNG"), 1, np.where(BYTES > 127, 255, 0)),
        "L": (encoded(Image.fromarray(BYTES), "PNG"), 1, BYTES),
        "LA": (encoded(Image.fromarray(np.dstack([BYTES, ALPHA])), "PNG"), 1, BYTES),
        "I;16": (encoded(Image.fromarray(DEEP), "PNG"), 1, DEEP >> 8),
        "I;16 tiff": (encoded(Image.fromarray(DEEP), "TIFF"), 1, DEEP >> 8),
        "I;16 by hand": (png(DEEP, 0, 16), 1, DEEP >> 8),
        "RGB;16": (png(wide, 2, 16), 3, wide >> 8),
        "RGB": (encoded(Image.fromarray(COLOUR), "PNG"), 3, COLOUR),
        "RGBA": (encoded(Image.fromarray(np.dstack([COLOUR, ALPHA])), "PNG"), 3, COLOUR),
        "P": (encoded(palette, "PNG"), 3, colours),
        "P with one transparent colour": (encoded(palette, "PNG", transparency=3), 3, colours),
        "P with alpha": (encoded(palette, "PNG", transparency=bytes(range(64))), 3, colours),
        "CMYK": (
            encoded(Image.fromarray(ink, "CMYK"), "TIFF"),
            3,
            paper[..., :3] - (paper[..., :3] * ink[..., 3:] + 127) // 255,
        ),
    }
    deep_map = b"P5 17 13 65535\n" + DEEP.astype(">u2").tobytes()
    return found | {"PGM of 16 bits": (deep_map, 1, DEEP >> 8)}


@pytest.mark.parametrize("name", cases())
def test_every_mode_comes_out_as_numpy_says(name: str) -> None:
    data, channels, pixels = cases()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert channels_of(data, name) == channels
        found = decode(data, name, channels, None)
    shown = np.moveaxis(found.numpy(), 0, -1).astype(np.int64)
    truth = np.asarray(pixels, np.int64).reshape(shown.shape)
    assert np.abs(shown - truth).max() <= (1 if name == "CMYK" else 0)


def test_noise_of_sixteen_bits_has_the_mean_of_noise() -> None:
    noise = RNG.integers(0, 65536, (64, 64)).astype(np.uint16)
    mean = decode(encoded(Image.fromarray(noise), "PNG"), "", 1, None).float().mean().item()
    assert mean == pytest.approx((noise >> 8).mean())
    assert 120 < mean < 135


def test_colour_is_made_grey_and_grey_colour() -> None:
    data = encoded(Image.fromarray(COLOUR), "PNG")
    assert np.array_equal(decode(data, "", 1, None)[0].numpy(), grey(COLOUR))
    data = encoded(Image.fromarray(DEEP), "PNG")
    assert all(np.array_equal(channel, DEEP >> 8) for channel in decode(data, "", 3, None).numpy())


@pytest.mark.parametrize(
    ("pixels", "said"),
    [(BYTES.astype(np.int32), "32-bit integers"), (BYTES.astype(np.float32), "floating-point numbers")],
)
def test_pixels_of_no_known_range_are_refused_by_name(pixels: np.ndarray, said: str) -> None:
    data = encoded(Image.fromarray(pixels), "TIFF")
    for read in (lambda: channels_of(data, "a.tif"), lambda: decode(data, "a.tif", 1, None)):
        with pytest.raises(DataError, match=f"a.tif: its pixels are {said}, whose range is not known"):
            read()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_as_their_exif_says(orientation: int, form: str) -> None:
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:12, :8], upright[:12, 8:], upright[12:, :8] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = {  # what a camera that was held so would store
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif.tobytes(), **options)
    found = np.moveaxis(decode(data, "", 3, None).numpy(), 0, -1).astype(int)
    assert found.shape == upright.shape
    assert np.abs(found - upright.astype(int))[2:10:2, 2:6:2].max() < 30
    assert np.abs(found[[3, 3, 20], [3, 12, 3]] - upright[[3, 3, 20], [3, 12, 3]].astype(int)).max() < 30


def test_damaged_exif_turns_nothing() -> None:
    data = encoded(Image.fromarray(COLOUR), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert np.array_equal(np.moveaxis(decode(data, "", 3, None).numpy(), 0, -1), COLOUR)


def refusal(data: bytes) -> str | None:
    try:
        decode(data, "here.img", channels_of(data, "here.img"), 8)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("form", FORMATS)
def test_cut_and_spoilt_images_end_in_one_line(form: str) -> None:
    data = encoded(Image.fromarray(COLOUR), form)
    spoilt = [data[:length] for length in range(0, len(data), max(1, len(data) // 40))]
    for _ in range(150):
        changed = bytearray(data)
        for at in RNG.integers(0, min(len(data), 64), 3):
            changed[at] = RNG.integers(0, 256)
        spoilt.append(bytes(changed))
    refused = 0
    for one in spoilt:
        said = refusal(one)
        assert said is None or re.fullmatch(r"here\.img: [^\n]+", said)
        assert "BytesIO" not in (said or "")
        refused += said is not None
    assert refused > 5


def test_pillows_warnings_are_not_heard(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(COLOUR), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        decode(data, "", 3, None)
    assert heard  # else this shows nothing
    (tmp_path / "a.png").write_bytes(data)
    program = (
        "import sys; from ressearch.data.images import decode; decode(open(sys.argv[1], 'rb').read(), '', 3, None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.png"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_no_memory_is_taken_on_a_headers_word() -> None:
    for side, said in ((100_000, f"more than {MOST_PIXELS:,}"), (10_000, "declares 10000x10000 pixels, but has")):
        lying = bytearray(encoded(Image.fromarray(BYTES), "PNG"))
        lying[16:24] = struct.pack(">II", side, side)
        lying[29:33] = struct.pack(">I", zlib.crc32(lying[12:29]))
        with pytest.raises(DataError, match=said):
            decode(bytes(lying), "a.png", 1, None)


def test_a_long_strip_is_not_blown_up() -> None:
    data = encoded(Image.fromarray(np.zeros((1, 20_000), np.uint8)), "PNG")
    with pytest.raises(DataError, match="20000x1 pixels cannot be brought to size 512"):
        decode(data, "strip.png", 1, 512)
    assert torch.equal(decode(data, "strip.png", 1, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
