"""Mean and deviation by channel: numpy's on all numbers at once, whatever the blocks; kept for images decoded later."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ressearch.data import moments as room
from ressearch.data.lazy import Lazy
from ressearch.data.moments import are_kept, moments

RNG = np.random.default_rng(5)
POOLS = {
    "pixels": RNG.integers(0, 256, (40, 3, 4, 5), dtype=np.uint8),
    "images": RNG.normal(100, 3, (40, 3, 4, 5)).astype(np.float32),
    "sequences": RNG.normal(-5, 2, (40, 6, 3)).astype(np.float32),
    "vectors": RNG.normal(1e4, 1, (40, 3)).astype(np.float32),
    "bytes": RNG.integers(0, 256, (40, 3), dtype=np.uint8),
}
SOME = torch.tensor([31, 2, 3, 17, 5, 8, 30])


def expected(pool: np.ndarray, places: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    axes = tuple(axis for axis in range(pool.ndim) if axis != (1 if pool.ndim == 4 else pool.ndim - 1))
    chosen = pool[places.numpy()].astype(np.float64)
    return chosen.mean(axes), chosen.std(axes, ddof=1)


@pytest.mark.parametrize("block", [1, 130, 2**18])
@pytest.mark.parametrize("name", POOLS)
def test_moments_are_numpys_whatever_the_blocks(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_BLOCK", block)
    pool = POOLS[name]
    for places in (torch.arange(40), SOME):
        mean, std = moments(torch.from_numpy(pool), places)
        shape = (3, 1, 1) if pool.ndim == 4 else (3,)
        assert mean.shape == std.shape == shape
        assert mean.dtype == std.dtype == torch.float32
        wanted = expected(pool, places)
        np.testing.assert_allclose(mean.flatten().numpy(), wanted[0], rtol=1e-6)
        np.testing.assert_allclose(std.flatten().numpy(), wanted[1], rtol=1e-5)


def test_blocks_are_of_as_many_examples_as_the_cache_holds_numbers_of(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    select = torch.Tensor.index_select

    def watched(self: torch.Tensor, axis: int, chosen: torch.Tensor) -> torch.Tensor:
        sizes.append(len(chosen))
        return select(self, axis, chosen)

    monkeypatch.setattr(torch.Tensor, "index_select", watched)
    for block, wanted in ((180, [3, 3, 1]), (179, [2, 2, 2, 1]), (59, [1] * 7)):
        monkeypatch.setattr(room, "_BLOCK", block)
        sizes.clear()
        moments(torch.from_numpy(POOLS["pixels"]), SOME)  # 60 numbers an example
        assert sizes == wanted
    monkeypatch.setattr(room, "_BLOCK", 2)
    sizes.clear()
    moments(torch.arange(5.0).view(5, 1), torch.arange(5))
    assert sizes == [2, 2, 1]


def test_a_constant_has_deviation_1_and_one_example_too() -> None:
    for kind in (torch.uint8, torch.float32):
        pool = torch.tensor([[7, 1], [7, 3], [7, 5]], dtype=kind)
        mean, std = moments(pool, torch.arange(3))
        assert (mean.tolist(), std.tolist()) == ([7, 3], [1, 2])
        mean, std = moments(pool, torch.tensor([1]))
        assert (mean.tolist(), std.tolist()) == ([7, 3], [1, 1])
    only = torch.tensor([[7.0, 1.0]])
    mean, std = moments(only, torch.tensor([0]))
    assert (mean.tolist(), std.tolist()) == ([7, 1], [1, 1])
    fine = torch.tensor([[0.0], [2e-5]])
    assert moments(fine, torch.arange(2))[1].item() == pytest.approx(2e-5 / 2**0.5)
    finer = torch.tensor([[0.0], [1e-6]])
    assert moments(finer, torch.arange(2))[1].item() == 1


def test_one_thread_measures_and_threads_are_as_before_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    before, used, measure = torch.get_num_threads(), [], room._measure
    monkeypatch.setattr(room, "_measure", lambda *given: (used.append(torch.get_num_threads()), measure(*given))[1])
    try:
        torch.set_num_threads(3)
        moments(torch.from_numpy(POOLS["vectors"]), SOME)
        assert torch.get_num_threads() == 3
        with pytest.raises(IndexError):
            moments(torch.from_numpy(POOLS["vectors"]), torch.tensor([99]))
        assert torch.get_num_threads() == 3
        assert used == [1, 1]
    finally:
        torch.set_num_threads(before)


class Decoded(Lazy):
    """Images that need no decoding, and count how often they are asked for."""

    def __init__(self, pool: np.ndarray, name: str = "some") -> None:
        self.pool, self.name, self.loaded = torch.from_numpy(pool), name, []  # type: ignore[var-annotated]
        self.indices = np.arange(len(pool))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pool.shape)

    def identity(self) -> str:
        return self.name

    def load(self, chosen: torch.Tensor) -> torch.Tensor:
        self.loaded.append(len(chosen))
        return self.pool[chosen]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "moments"


def test_images_decoded_when_needed_are_measured_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_DECODED", 3)
    images = Decoded(POOLS["pixels"])
    assert not are_kept(images, SOME)
    assert are_kept(images.pool, SOME)
    mean, std = moments(images, SOME)
    assert images.loaded == [3, 3, 1]
    wanted = expected(POOLS["pixels"], SOME)
    np.testing.assert_allclose(mean.flatten().numpy(), wanted[0], rtol=1e-6)
    np.testing.assert_allclose(std.flatten().numpy(), wanted[1], rtol=1e-5)
    assert are_kept(images, SOME)
    again = Decoded(POOLS["pixels"])
    found = moments(again, SOME)
    assert again.loaded == []
    for one, other in zip(found, (mean, std), strict=True):
        assert torch.equal(one, other)
        assert one.shape == (3, 1, 1)
    assert not are_kept(Decoded(POOLS["pixels"], "other"), SOME)
    assert not are_kept(again, SOME[:-1])
    (file,) = cache.iterdir()
    places = hashlib.sha256(SOME.numpy().tobytes()).hexdigest()
    assert file.name == hashlib.sha256(f"some|{places}".encode()).hexdigest()[:24] + ".json"
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content == {"mean": mean.flatten().tolist(), "std": std.flatten().tolist()}
    moments(Decoded(POOLS["pixels"], "more"), SOME)  # into a directory that is there
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"mean": [1]}', '{"mean": "a", "std": [1]}', "3"])
def test_a_spoilt_file_is_measured_again(content: str, cache: Path) -> None:
    images = Decoded(POOLS["pixels"])
    wanted = moments(images, SOME)
    (file,) = cache.iterdir()
    file.write_text(content)
    found = moments(images, SOME)
    assert images.loaded == [7, 7]
    assert torch.equal(found[0], wanted[0])
    assert json.loads(file.read_text())["mean"] == wanted[0].flatten().tolist()


def test_where_nothing_can_be_kept_all_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "file"))
    images = Decoded(POOLS["pixels"])
    found: list[Any] = [moments(images, SOME) for _ in range(2)]
    assert torch.equal(found[0][1], found[1][1])
    assert images.loaded == [7, 7]
