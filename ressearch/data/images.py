"""Encoded images to pixels. Nothing large is allocated on a header's word alone.

Every mode of Pillow either comes out as bytes, by a rule that `decode` states, or is refused by name.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ressearch.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

MOST_PIXELS = 2**27
"""Pixels of an image (11,585 x 11,585) above which it is refused."""
_SUSPICIOUS, _DENSEST = 2**24, 4096
"""Above so many pixels, an image must have a byte for so many of them: no photograph is as empty."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""

_GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_COLOUR = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "HSV")

Image.MAX_IMAGE_PIXELS = None  # `_opened` refuses large images itself, by name and without a warning
# What Pillow warns of (damaged metadata, odd palettes) either has no bearing on pixels or ends in an error of ours.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


@contextlib.contextmanager
def _opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """Open an encoded image. Raises DataError if it, or what is done with it in the block, cannot be read."""
    if not data:
        raise DataError(f"{where}: no image that can be read (it is empty)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = image.width * image.height
            if pixels > MOST_PIXELS:
                raise DataError(f"{where}: {image.width}x{image.height} pixels are more than {MOST_PIXELS:,}")
            if pixels > _SUSPICIOUS and pixels > _DENSEST * len(data):
                raise DataError(
                    f"{where}: damaged: declares {image.width}x{image.height} pixels, but has {len(data)} bytes"
                )
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{where}: no image that can be read (of no format that Pillow knows)") from None
    except Exception as error:  # Pillow's readers raise a dozen kinds for damaged files
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{where}: no image that can be read ({said})") from None


def _kind(image: Image.Image, where: str) -> str:
    """Return the image's mode; 16-bit greys have one name. Raises DataError for a mode without a rule."""
    mode = image.mode
    # Before Pillow 11 these two formats' 16-bit greys had the mode of 32-bit integers.
    if mode == "I" and image.format in ("PNG", "PPM"):
        return "I;16"
    if mode in _DEEP:
        return "I;16"
    if mode in _GREY or mode in _COLOUR:
        return mode
    named = {"I": "32-bit integers", "F": "floating-point numbers", "LAB": "Lab colours"}.get(mode, f"mode {mode}")
    raise DataError(f"{where}: its pixels are {named}, whose range is not known; save it with 8 or 16 bits a channel")


def channels_of(data: bytes, where: str) -> int:
    """Return 1 for a grey image, 3 for any other; an alpha channel does not count. Raises DataError as `decode`."""
    with _opened(data, where) as image:
        return 1 if _kind(image, where) in _GREY else 3


def decode(data: bytes, where: str, channels: int, size: int | None) -> Tensor:
    """Return an encoded image as uint8, shape (channels, height, width).

    Sixteen bits are cut to the upper eight, alpha is left out, palettes and other colours become RGB; an image is
    turned as its EXIF orientation says; of an animation the first frame counts.

    Args:
        data: the file's bytes.
        where: names it in an error.
        channels: 1 converts to grey, 3 to colour.
        size: brings the shorter side to it, and cuts out the middle; None keeps the image.

    Raises:
        DataError: the bytes are no image that can be read, or hold pixels whose range is not known.
    """
    with _opened(data, where) as opened:
        image = _upright(_to_bytes(opened, _kind(opened, where)), opened)
        image = image.convert("L" if channels == 1 else "RGB")
        if size is not None and image.size != (size, size):
            scale = size / min(image.size)
            scaled = tuple(max(size, round(side * scale)) for side in image.size)
            if scaled[0] * scaled[1] > MOST_PIXELS:
                raise DataError(f"{where}: {image.width}x{image.height} pixels cannot be brought to size {size}")
            image = image.resize(scaled, Image.Resampling.BILINEAR)  # type: ignore[arg-type]
            left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
            image = image.crop((left, top, left + size, top + size))
        pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def _to_bytes(image: Image.Image, kind: str) -> Image.Image:
    """Return the image in mode L or RGB (or one that converts to them without loss of range)."""
    if kind == "I;16":
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if kind in ("P", "PA"):
        return image.convert("RGBA").convert("RGB")
    if kind in ("La", "RGBa"):  # colours multiplied by alpha
        image = image.convert(kind.upper())
    return image.convert("L" if kind in _GREY else "RGB")


def _upright(image: Image.Image, opened: Image.Image) -> Image.Image:
    """Turn an image as the EXIF orientation of the opened file says; damaged EXIF says nothing."""
    try:
        orientation = opened.getexif().get(0x0112, 1)
    except Exception:
        return image
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
