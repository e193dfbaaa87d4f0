"""Modes, sizes and bounds of encoded images, and how many are decoded at once; sizes by Pillow, cuts by hand."""

from __future__ import annotations

import io
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ressearch.data import images as room
from ressearch.data import lazy as lazy_room
from ressearch.data.images import _kind, _to_bytes, _upright, channels_of, decode
from ressearch.data.lazy import Lazy
from ressearch.data.sources import Source
from ressearch.errors import DataError

RNG = np.random.default_rng(4)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as refused:
        call(*arguments)
    return str(refused.value)


class Opened:
    """As much of an opened image as its kind is told by."""

    def __init__(self, mode: str, form: str | None = None) -> None:
        self.mode, self.format = mode, form


@pytest.mark.parametrize(
    ("mode", "form", "kind"),
    [
        ("I", "PNG", "I;16"),
        ("I", "PPM", "I;16"),
        ("I;16", "PNG", "I;16"),
        ("I;16", "TIFF", "I;16"),
        ("I;16L", None, "I;16"),
        ("I;16B", None, "I;16"),
        ("I;16N", None, "I;16"),
        *((mode, "PNG", mode) for mode in ("1", "L", "LA", "La")),
        *((mode, "PNG", mode) for mode in ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "HSV")),
    ],
)
def test_modes_that_have_a_rule_have_a_kind(mode: str, form: str | None, kind: str) -> None:
    assert _kind(Opened(mode, form), "w") == kind  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "form", "said"),
    [
        ("I", "TIFF", "32-bit integers"),
        ("F", "PNG", "floating-point numbers"),
        ("LAB", "TIFF", "Lab colours"),
        ("BGR;15", "PNG", "mode BGR;15"),
    ],
)
def test_modes_without_a_rule_are_refused_by_name(mode: str, form: str, said: str) -> None:
    assert refusal(_kind, Opened(mode, form), "w") == (
        f"w: its pixels are {said}, whose range is not known; save it with 8 or 16 bits a channel"
    )


def test_what_is_done_with_an_image_names_it_in_every_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    for read in (channels_of, lambda data, where: decode(data, where, 1, None)):
        assert refusal(read, b"", "w") == "w: no image that can be read (it is empty)"
        assert refusal(read, b"text", "w") == "w: no image that can be read (of no format that Pillow knows)"
        deep = encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
        assert refusal(read, deep, "w").startswith("w: its pixels are floating-point numbers")
    good = encoded(Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)))
    assert refusal(decode, good[:-40], "w", 3, None).startswith("w: no image that can be read (")
    for error, said in ((ValueError("one\ntwo"), "one"), (KeyError(), "KeyError"), (OSError(" odd "), "odd")):

        def fails(*_: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(room, "_kind", fails)
        assert refusal(channels_of, good, "w") == f"w: no image that can be read ({said})"


def test_bounds_on_pixels_are_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(np.zeros((6, 7), np.uint8)))
    monkeypatch.setattr(room, "MOST_PIXELS", 42)
    assert channels_of(data, "w") == 1
    monkeypatch.setattr(room, "MOST_PIXELS", 41)
    assert refusal(channels_of, data, "w") == "w: 7x6 pixels are more than 41"
    monkeypatch.setattr(room, "MOST_PIXELS", 4200)
    said = f"w: damaged: declares 7x6 pixels, but has {len(data)} bytes"
    for suspicious, densest, is_refused in ((41, 0.5, True), (42, 0.5, False), (41, 42 / len(data), False)):
        monkeypatch.setattr(room, "_SUSPICIOUS", suspicious)
        monkeypatch.setattr(room, "_DENSEST", densest)
        if is_refused:
            assert refusal(channels_of, data, "w") == said
        else:
            assert channels_of(data, "w") == 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    ("width", "height", "size", "scaled"),
    [
        (17, 13, 13, (17, 13)),
        (17, 13, 6, (8, 6)),  # 7.8
        (13, 17, 6, (6, 8)),
        (13, 18, 5, (5, 7)),  # 6.9: the middle begins at 1
        (13, 13, 20, (20, 20)),
        (40, 3, 4, (53, 4)),  # 53.3
        (9, 9, 9, None),
        (9, 9, None, None),
        (9, 7, None, None),
    ],
)
def test_the_shorter_side_is_scaled_and_the_middle_cut_out(
    mode: str, width: int, height: int, size: int | None, scaled: tuple[int, int] | None
) -> None:
    pixels = RNG.integers(0, 256, (height, width, 3) if mode == "RGB" else (height, width), dtype=np.uint8)
    image = Image.fromarray(pixels)
    expected = np.array(image if scaled is None else image.resize(scaled, Image.Resampling.BILINEAR))
    if scaled is not None and size is not None:
        left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
        expected = expected[top : top + size, left : left + size]
    channels = 3 if mode == "RGB" else 1
    found = decode(encoded(image), "w", channels, size)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert np.array_equal(found.numpy(), np.moveaxis(expected.reshape(*expected.shape[:2], channels), 2, 0))


def test_an_image_that_would_be_blown_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(np.zeros((2, 5), np.uint8)))
    monkeypatch.setattr(room, "MOST_PIXELS", 40)
    assert decode(data, "w", 1, 4).shape == (1, 4, 4)  # 10x4
    monkeypatch.setattr(room, "MOST_PIXELS", 39)
    assert refusal(decode, data, "w", 1, 4) == "w: 5x2 pixels cannot be brought to size 4"


def test_pixels_of_every_kind_become_bytes() -> None:
    grey, alpha = np.array([[10, 200]], np.uint8), np.array([[100, 255]], np.uint8)
    colour = np.array([[[10, 20, 30], [200, 100, 50]]], np.uint8)
    deep = Image.fromarray(np.array([[0x1234, 0xFFFF, 0x00FF]], np.uint16))
    assert (_to_bytes(deep, "I;16").mode, np.array(_to_bytes(deep, "I;16")).tolist()) == ("L", [[0x12, 255, 0]])
    for mode, kind, pixels, truth in (
        ("L", "L", grey, grey),
        ("LA", "LA", np.dstack([grey, alpha]), grey),
        ("RGBA", "RGBA", np.dstack([colour, alpha]), colour),
        ("RGB", "RGB", colour, colour),
    ):
        found = _to_bytes(Image.fromarray(pixels, mode), kind)
        assert found.mode == ("L" if kind in ("L", "LA") else "RGB")
        assert np.array_equal(np.array(found), truth)
    bits = _to_bytes(Image.fromarray(np.array([[True, False]])), "1")
    assert (bits.mode, np.array(bits).tolist()) == ("L", [[255, 0]])
    # colours multiplied by alpha are divided by it again, up to a step
    for plain, multiplied, truth in (("LA", "La", grey), ("RGBA", "RGBa", colour)):
        image = Image.fromarray(np.dstack([truth, alpha]), plain).convert(multiplied)
        found = _to_bytes(image, multiplied)
        assert found.mode == ("L" if plain == "LA" else "RGB")
        assert np.abs(np.array(found).astype(int) - truth).max() <= 3
    palette = Image.fromarray(colour).quantize(2)
    palette.info["transparency"] = 0
    shades = np.array(palette.getpalette()[:6]).reshape(-1, 3)[np.array(palette)]
    for kind, image in (("P", palette), ("PA", palette.convert("PA"))):
        found = _to_bytes(image, kind)
        assert (found.mode, np.array(found).tolist()) == ("RGB", shades.tolist())


def test_an_orientation_that_is_none_turns_nothing() -> None:
    class Exif:
        def __init__(self, found: dict[int, int] | None) -> None:
            self.found = found

        def getexif(self) -> dict[int, int]:
            if self.found is None:
                raise ValueError("damaged")
            return self.found

    image = Image.fromarray(np.array([[1, 2, 3]], np.uint8))
    for found in (None, {}, {0x0112: 1}, {0x0112: 9}, {0x0113: 6}, {1: 6}):
        assert _upright(image, Exif(found)) is image  # type: ignore[arg-type]
    assert np.array(_upright(image, Exif({0x0112: 2}))).tolist() == [[3, 2, 1]]  # type: ignore[arg-type]
    assert np.array(_upright(image, Exif({0x0112: 6}))).tolist() == [[1], [2], [3]]  # type: ignore[arg-type]


class Memory(Source):
    """Images in memory, whose readers are noted."""

    def __init__(self, images: list[bytes]) -> None:
        self.images = images
        self.asked: list[int] = []
        self.samples: list[list[int]] = []
        self.is_prepared = False

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[bytes, str]:
        assert type(index) is int
        self.asked.append(index)
        return self.images[index], f"image {index}"

    def identity(self) -> str:
        return "me"

    def prepare(self) -> None:
        self.is_prepared = True

    def sample(self, indices: Any) -> Memory:
        self.samples.append(indices)
        return self


def shaded(count: int, shape: tuple[int, ...] = (3, 4)) -> list[bytes]:
    return [encoded(Image.fromarray(np.full(shape, at % 256, np.uint8))) for at in range(count)]


def test_some_of_some_images_are_decoded_in_order() -> None:
    source = Memory(shaded(9))
    images = Lazy(source, 1, None, (3, 4))
    assert (images.source, images.channels, images.size, images.side) == (source, 1, None, (3, 4))
    assert (len(images), images.shape, images.identity()) == (9, (9, 1, 3, 4), "me|1|None")
    some = images.take(torch.tensor([8, 2, 5]))
    again = some.take(torch.tensor([2, 0]))
    assert (some.source, some.channels, some.size, some.side) == (source, 1, None, (3, 4))
    assert (some.shape, again.shape) == ((3, 1, 3, 4), (2, 1, 3, 4))
    found = again.load(torch.tensor([1, 0, 1]))
    assert found.shape == (3, 1, 3, 4)
    assert found[:, 0, 0, 0].tolist() == [8, 5, 8]
    empty = again.load(torch.tensor([], dtype=torch.int64))
    assert (empty.shape, empty.dtype) == ((0, 1, 3, 4), torch.uint8)
    sent = pickle.loads(pickle.dumps(again))
    assert sent._pool is None
    assert sent.load(torch.arange(2))[:, 0, 0, 0].tolist() == [5, 8]
    images.prepare()
    assert source.is_prepared
    colour = Lazy(Memory(shaded(2)), 3, 2, (2, 2), np.array([1]))
    assert (colour.identity(), colour.shape) == ("me|3|2", (1, 3, 2, 2))
    assert colour.load(torch.tensor([0])).unique().tolist() == [1]


def test_an_image_of_another_size_is_refused_with_both_sizes() -> None:
    images = Lazy(Memory([*shaded(2), *shaded(1, (4, 3))]), 1, None, (3, 4))
    assert refusal(images.load, torch.arange(3)) == (
        "image 2: 3x4 pixels, but the first has 4x3; data.size brings all to one size"
    )


def test_images_are_decoded_by_as_many_threads_as_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = lazy_room.ThreadPoolExecutor
    monkeypatch.setattr(lazy_room, "ThreadPoolExecutor", lambda count: asked.append(count) or real(count))  # type: ignore[func-returns-value]
    threads: set[int] = set()
    read = Memory.read
    monkeypatch.setattr(Memory, "read", lambda self, at: threads.add(threading.get_ident()) or read(self, at))  # type: ignore[func-returns-value]
    for processors in (7, 2, 1, None):
        monkeypatch.setattr(lazy_room.os, "cpu_count", lambda processors=processors: processors)
        images = Lazy(Memory(shaded(3)), 1, None, (3, 4))
        for _ in range(2):
            images.load(torch.arange(3))
    assert asked == [7, 2, 2, 2]
    assert threading.get_ident() not in threads


def test_throughput_is_of_512_shuffled_images_in_batches_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Memory(shaded(1) * 700)
    images = Lazy(source, 1, None, (3, 4), np.arange(699, -1, -1))
    order = torch.randperm(700, generator=torch.Generator().manual_seed(0))
    times = iter([10.0, 10.25])
    monkeypatch.setattr(lazy_room.time, "perf_counter", lambda: next(times))
    sizes: list[int] = []
    load = Lazy.load
    monkeypatch.setattr(Lazy, "load", lambda self, chosen: sizes.append(len(chosen)) or load(self, chosen))  # type: ignore[func-returns-value]
    assert images.throughput() == 512 / 0.25
    assert sizes == [64] * 8
    expected = [699 - at for at in order[:512].tolist()]
    assert source.samples == [expected]
    assert sorted(source.asked) == sorted(expected)
    times = iter([1.0, 2.0])
    sizes.clear()
    assert images.throughput(70) == 70
    assert sizes == [64, 6]
