"""Large data are held once: nothing is copied by splitting, checking or sharing; counted in bytes, not in seconds."""

from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch

import ressearch
from ressearch.cache import cache_directory
from ressearch.data import Place, Resident, load_dataset, registry, split, spool, training_batches
from ressearch.search.trial import from_arrays, to_arrays

CPU = torch.device("cpu")
IMAGES = 20_000


@pytest.fixture(autouse=True)
def held_from_a_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large is so from a megabyte on, so that the tests need less of it."""
    monkeypatch.setattr(spool, "HELD", 2**20)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 24, 24), dtype=np.uint8)  # 35 MB


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Path:
    file = tmp_path_factory.mktemp("large") / "a.npz"
    np.savez(file, x=pixels, y=np.arange(IMAGES) % 4)
    return file


@pytest.fixture(scope="module")
def last_channel(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Path:
    """Compressed, with channels last: it has to be unpacked and turned."""
    file = tmp_path_factory.mktemp("packed") / "a.npz"
    turned = np.ascontiguousarray(np.moveaxis(pixels // 64, 1, 3))
    np.savez_compressed(file, x=turned, y=np.arange(IMAGES) % 4)
    return file


def test_stored_arrays_are_mapped_where_they_lie(stored: Path, pixels: np.ndarray) -> None:
    data = load_dataset(f"npz:{stored}")
    assert data.place is not None
    assert Path(data.place.path) == stored
    assert np.array_equal(data.inputs.numpy(), pixels)


def test_unpacked_arrays_lie_in_a_file_that_ends_with_them(last_channel: Path, pixels: np.ndarray) -> None:
    data = load_dataset(f"npz:{last_channel}")
    assert data.place is not None
    file = Path(data.place.path)
    assert file.is_relative_to(cache_directory())
    assert np.array_equal(data.inputs.numpy(), pixels // 64)
    registry._loaded.cache_clear()
    del data
    gc.collect()
    assert not file.exists()


@pytest.mark.parametrize("which", ["stored", "last_channel"])
def test_a_study_copies_no_large_data(
    which: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = request.getfixturevalue(which)
    registry._loaded.cache_clear()
    tracemalloc.start()  # NumPy reports to it; torch's own allocations are bounded below
    study = ressearch.Study.from_dict(
        {"space": {"grid": {"depth": [8], "width": 4}}, "data": {"name": f"npz:{file}"}, "recipe": {"batch_size": 256}}
    )
    for _ in range(7):
        splits = study.splits()
    given = from_arrays(pickle.loads(pickle.dumps(to_arrays(splits))), CPU)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = IMAGES * 3 * 24 * 24
    assert peak < 0.4 * size
    assert len({splits.train.pool.data_ptr(), splits.validation.pool.data_ptr(), splits.test.pool.data_ptr()}) == 1
    assert given.train.pool.data_ptr() == given.validation.pool.data_ptr()
    sent = pickle.dumps(to_arrays(splits, with_test=True))
    assert len(sent) < 0.02 * size  # places and labels alone
    monkeypatch.setattr("ressearch.data.batches._KEPT_NORMALISED", 0)  # as of data that are really large
    resident = Resident(given.train, given.mean, given.std)
    batch = next(iter(training_batches(resident, 64, [torch.Generator().manual_seed(0)])))
    chosen = torch.randperm(len(given.train), generator=torch.Generator().manual_seed(0))[:64]
    expected = (splits.train.inputs[chosen].float() - splits.mean) / splits.std
    assert torch.equal(batch.inputs[0], expected)


def test_search_trials_are_not_told_which_examples_are_the_test_parts(stored: Path) -> None:
    splits = split(load_dataset(f"npz:{stored}"), 0)
    held_out = set(splits.test.places.tolist())
    search, final = to_arrays(splits), to_arrays(splits, with_test=True)
    told = {index for name in ("train_places", "validation_places") for index in search[name].tolist()}
    assert not told & held_out
    assert not any(name.startswith("test") for name in search)
    assert set(final["test_places"].tolist()) == held_out
    assert torch.equal(from_arrays(final, CPU).test.labels, splits.test.labels)


def test_moments_in_blocks_are_those_of_the_whole(stored: Path, pixels: np.ndarray) -> None:
    splits = split(load_dataset(f"npz:{stored}"), 0)
    part = pixels[splits.train.places.numpy()].astype(np.float64)
    assert splits.mean.flatten().tolist() == pytest.approx(part.mean((0, 2, 3)).tolist(), rel=1e-6)
    assert splits.std.flatten().tolist() == pytest.approx(part.std((0, 2, 3), ddof=1).tolist(), rel=1e-6)


def test_moments_of_numbers_far_from_zero_are_exact_too() -> None:
    values = np.random.default_rng(0).normal(1e5, 1, (30_000, 300)).astype(np.float32)
    splits = split(ressearch.data.from_arrays(values, np.arange(30_000) % 2), 0)
    part = values[splits.train.places.numpy()].astype(np.float64)
    assert splits.mean.tolist() == pytest.approx(part.mean(0).tolist(), rel=1e-6)
    assert splits.std.tolist() == pytest.approx(part.std(0, ddof=1).tolist(), rel=1e-5)


def test_data_that_changed_since_they_were_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=np.zeros((8, 3), np.float32), y=np.arange(8) % 2)
    place = Place.of(file, 128, np.dtype(np.float32), (8, 3))
    place.open()
    os.utime(file, (1, 1))
    with pytest.raises(ressearch.errors.DataError, match=r"a\.npz: has changed since it was first read"):
        place.open()
    file.unlink()
    with pytest.raises(ressearch.errors.DataError, match=r"a\.npz: No such file"):
        place.open()


def test_where_nothing_can_be_written_data_stay_in_memory(
    last_channel: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray
) -> None:
    monkeypatch.setattr(spool, "_directory", lambda: (_ for _ in ()).throw(OSError("read-only")))
    registry._loaded.cache_clear()
    data = load_dataset(f"npz:{last_channel}")
    assert data.place is None
    assert np.array_equal(data.inputs.numpy(), pixels // 64)
    registry._loaded.cache_clear()


def test_files_of_a_killed_process_are_removed_by_the_next(tmp_path: Path) -> None:
    environment = {**os.environ, "RESSEARCH_CACHE": str(tmp_path)}
    leave = "import os, signal; from ressearch.data import spool; print(spool.new_file(9)); "
    leave += "spool.new_file(9).write_bytes(b'left'); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", leave], env=environment, check=False, capture_output=True)
    (left,) = (tmp_path / "spool").iterdir()
    busy = tmp_path / "spool" / f"{left.name.rsplit('-', 2)[0]}-1-busy"
    busy.mkdir()
    with filelock.FileLock(busy / "lock"):
        look = "from ressearch.cache import cache_directory; from ressearch.data import spool; import json, os; "
        look += "spool.new_file(9); "
        look += "print(json.dumps(os.listdir(cache_directory() / 'spool')))"
        found = subprocess.run([sys.executable, "-c", look], env=environment, check=True, capture_output=True)
    names = json.loads(found.stdout)
    assert left.name not in names
    assert busy.name in names
    assert [one.name for one in (tmp_path / "spool").iterdir()] == [busy.name]  # and its own went with it


def test_the_object_store_holds_what_is_not_mapped() -> None:
    """What is smaller than a mapped file goes through Ray's store, each part once."""
    source = (Path(ressearch.__file__).parent / "search" / "cluster.py").read_text()
    assert "object_store_memory=256 * 1024**2" in source
    assert "HELD = 64 * 2**20" in Path(spool.__file__).read_text()
    assert 3 * 64 * 2**20 < 256 * 1024**2


@pytest.mark.slow
def test_a_study_of_large_data_runs_through_ray(tmp_path: Path, last_channel: Path) -> None:
    study: Any = ressearch.Study.from_dict(
        {
            "space": {"grid": {"depth": [8], "width": 4, "stem": "patch"}},
            "data": {"name": f"npz:{last_channel}", "per_class": 500},
            "recipe": {"epochs": 1, "batch_size": 256},
            "search": {"finalists": {"count": 1, "seeds": 1}},
        }
    )
    results = ressearch.load(ressearch.run(study, tmp_path / "run"))
    assert results.trials["status"].tolist() == ["completed", "completed"]
