"""Which examples trials had right: what is written when, what is read back, and what counts as damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results.made import RUN, point, results, row

from ressearch import Architecture, cost, load
from ressearch.errors import StudyError
from ressearch.results import Store, examples
from ressearch.results.examples import Correct, Packed, pack
from ressearch.results.storage import Mirror

NETWORK = Architecture(depths=(1,), widths=(4,))
BITS = np.array([[1, 0, 1, 1, 0, 0, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]], bool)  # 5 and 8 of 10
OTHER = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1, 1, 1, 0]], bool)  # as accurate
TEST = np.array([[1, 0, 0], [1, 1, 0]], bool)


def correct(epoch: int, bits: Any = BITS, **parts: Any) -> Correct:
    return Correct(epoch, {name: pack(one) for name, one in {"validation": bits, **parts}.items()})


def begin(store: Store, trial: int = 0, epochs: int = 1) -> None:
    """Record that a trial trained some epochs, each to accuracies 0.5 and 0.8."""
    store.start(trial, NETWORK, cost(NETWORK), "{}", (7, 3), 0.1)
    for epoch in range(1, epochs + 1):
        store.epoch(trial, [point(epoch, 7, 0.5), point(epoch, 3, 0.8)])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a study whose trial 0 ended after epoch 2, with its examples on record."""
    path = tmp_path / "study"
    path.mkdir()
    (path / "run.json").write_text(json.dumps(RUN))
    store = Store(path)
    begin(store, epochs=2)
    store.hold(0, correct(2, test=TEST))
    store.end(0, "completed", None, seed_test_accuracies=[1 / 3, 2 / 3])
    store.close()
    return path


def test_eight_examples_are_a_byte() -> None:
    packed = pack(BITS)
    assert packed.bits.tolist() == [[0b10110001, 0b01000000], [0b11111111, 0]]
    assert packed.examples == 10
    assert packed.unpack().tolist() == BITS.tolist()
    assert packed.agrees([0.5, 0.8])
    assert not packed.agrees([0.8, 0.5])
    assert not packed.agrees([0.5])
    assert not packed.agrees([])


def test_what_a_trial_held_at_its_end_is_read_back(directory: Path) -> None:
    read = load(directory)
    found = read.correct(0)
    assert found is not None
    assert found.dtype == np.bool_
    assert found.tolist() == BITS.tolist()
    assert found.mean(1).tolist() == read.trials["seed_val_accuracies"][0].tolist()
    test = read.correct(0, "test")
    assert test is not None
    assert test.tolist() == TEST.tolist()
    assert [file.name for file in (directory / "examples").iterdir()] == ["00000.npz"]
    with np.load(directory / "examples" / "00000.npz") as arrays:  # numpy alone reads it
        assert np.unpackbits(arrays["validation"], axis=1)[:, :10].tolist() == BITS.astype(int).tolist()


def test_nothing_is_written_before_the_end_and_the_last_epoch_counts(directory: Path) -> None:
    store = Store(directory)
    begin(store, 1)
    store.hold(1, correct(1, OTHER))
    assert len(list((directory / "examples").iterdir())) == 1
    store.epoch(1, [point(2, 7, 0.5), point(2, 3, 0.8)])
    store.hold(1, correct(2))
    store.end(1, "stopped", "asha after epoch 2")
    store.close()
    found = load(directory).correct(1)
    assert found is not None
    assert found.tolist() == BITS.tolist()


@pytest.mark.parametrize(
    "held",
    [correct(1), correct(3), correct(2, np.ones((2, 10), bool)), correct(2, BITS[::-1]), correct(2, BITS[:1])],
    ids=["earlier epoch", "later epoch", "other accuracies", "other order of seeds", "a seed alone"],
)
def test_only_what_the_record_says_is_held(directory: Path, held: Correct) -> None:
    store = Store(directory)
    begin(store, 1, epochs=2)
    store.hold(1, held)
    store.end(1, "completed", None)
    begin(store, 2, epochs=0)
    store.hold(2, correct(0))
    store.end(2, "failed", "why")
    store.close()
    assert [load(directory).correct(trial) for trial in (1, 2)] == [None, None]


def test_a_trial_that_goes_on_has_none_until_it_ends_again(directory: Path) -> None:
    store = Store(directory)
    begin(store, 1)
    store.hold(1, correct(1, OTHER))
    store.end(1, "interrupted", "why")
    found = load(directory).correct(1)
    assert found is not None
    assert found.tolist() == OTHER.tolist()
    store.reopen(1)
    store.epoch(1, [point(2, 7, 0.5), point(2, 3, 0.8)])
    assert load(directory).correct(1) is None  # as after SIGKILL here: the file is of the epoch before
    store.hold(1, correct(2))
    store.epoch(1, [point(3, 7, 0.5), point(3, 3, 0.8)])
    store.end(1, "failed", "its process ended")  # before it told of the third
    store.close()
    assert load(directory).correct(1) is None


def test_a_kill_between_the_file_and_the_end_leaves_both_as_they_were(directory: Path) -> None:
    journal = directory / "journal.jsonl"
    text = journal.read_text()
    journal.write_text(text[: text.rindex('{"event": "end"')])
    for table in directory.glob("*.parquet"):
        table.unlink()
    (directory / "examples" / ".00000.npz.1.part").write_bytes(b"cut")
    found = load(directory).correct(0)
    assert found is not None
    assert found.tolist() == BITS.tolist()
    assert load(directory).correct(0, "test") is None  # no test accuracy is on record


def test_a_disk_that_takes_no_file_takes_no_end(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = Store(directory)
    begin(store, 1)
    store.hold(1, correct(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        store.end(1, "completed", None)
    assert store.broken is not None
    assert store.tables.trials[1]["status"] == "running"
    assert [file.name for file in (directory / "examples").iterdir()] == ["00000.npz"]
    store.close()
    assert load(directory).trials["status"].tolist() == ["completed", "running"]


def npz(file: Path, **arrays: Any) -> None:
    np.savez(file, **{"epoch": 2, "validation": pack(BITS).bits, "validation_examples": 10, **arrays})


def damages(file: Path) -> dict[str, Any]:
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(pack(BITS).bits.tobytes())] ^= 1
    return {
        "cut": lambda: file.write_bytes(whole[:-30]),
        "empty": lambda: file.write_bytes(b""),
        "another format": lambda: file.write_bytes(b"PK\x03\x04" + b"\0" * 80),
        "a flipped bit": lambda: file.write_bytes(bytes(flipped)),
        "one array": lambda: np.save(file.open("wb"), BITS),
        "code": lambda: npz(file, epoch=np.array([print], dtype=object)),
        "no number": lambda: npz(file, epoch="two"),
        "other types": lambda: npz(file, validation=BITS.astype(float)),
        "other shapes": lambda: npz(file, validation=BITS[0]),
        "too few bytes": lambda: npz(file, validation_examples=17),
        "too many bytes": lambda: npz(file, validation_examples=8),
        "negative": lambda: npz(file, validation_examples=-10),
        "none": lambda: npz(file, validation=np.zeros((2, 0), np.uint8), validation_examples=0),
        "other examples": lambda: npz(file, validation=pack(~BITS).bits),
        "one seed": lambda: npz(file, validation=pack(BITS[:1]).bits),
        "a directory": lambda: (file.unlink(), file.mkdir()),
    }


def test_a_damaged_file_is_said_to_be_in_one_line(directory: Path) -> None:
    file = directory / "examples" / "00000.npz"
    for kind, damage in damages(file).items():
        damage()
        read = load(directory)  # reads none of it
        with pytest.raises(StudyError) as caught:
            read.correct(0)
        said = str(caught.value)
        start = f"{file}: {'cannot be read' if kind == 'a directory' else 'damaged'}: "
        assert said.startswith(start), kind
        assert len(said) > len(start) + 5, kind
        assert len(said.splitlines()) == 1, kind


def test_what_is_not_on_record_is_none(directory: Path) -> None:
    npz(directory / "examples" / "00000.npz")
    assert load(directory).correct(0) is not None
    assert load(directory).correct(0, "test") is None  # the file has no such part
    (directory / "examples" / "00000.npz").unlink()
    assert load(directory).correct(0) is None
    (directory / "examples").rmdir()
    assert load(directory).correct(0) is None
    for values in ({}, {"seed_val_accuracies": float("nan")}):
        assert results([row(0, None, **values)], []).correct(0) is None


def test_a_directory_of_an_older_version_has_none() -> None:
    read = load(Path(__file__).parents[1] / "data" / "before_rooms" / "search")
    assert len(read.trials) > 0
    for number, phase in zip(read.trials["trial"], read.trials["phase"], strict=True):
        assert read.correct(number) is None
        assert phase != "final" or read.correct(number, "test") is None


def test_who_asks_for_what_there_is_not_is_told_so(directory: Path) -> None:
    with pytest.raises(StudyError, match=r"^split: 'vaildation' is unknown; did you mean 'validation'"):
        load(directory).correct(0, "vaildation")
    with pytest.raises(StudyError, match=r"study: no trial 5 is among these results$"):
        load(directory).correct(5)
    with pytest.raises(StudyError, match="no trial 0"):
        load(directory).phase("final").correct(0)
    assert load(directory).phase("search").correct(0) is not None


def test_behind_a_url_they_are_copied_there_and_read_there_when_asked_for(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "cache"))
    url = f"file://{tmp_path}/there"
    mirror = Mirror(url)
    mirror.local.parent.mkdir(parents=True)
    directory.rename(mirror.local)
    mirror.finish()
    shutil.rmtree(mirror.local)
    assert (tmp_path / "there" / "examples" / "00000.npz").is_file()
    read = load(url)
    assert not (read.directory / "examples").exists()
    found = read.correct(0)
    assert found is not None
    assert found.tolist() == BITS.tolist()
    assert sorted(file.name for file in Mirror(url).pull().iterdir()) == sorted(
        file.name for file in (tmp_path / "there").iterdir() if file.name != "examples"
    )
    (tmp_path / "there" / "examples" / "00000.npz").write_bytes(b"cut")
    with pytest.raises(StudyError, match=rf"^{url}/examples/00000.npz: damaged: "):
        read.correct(0)
    (tmp_path / "there" / "examples" / "00000.npz").unlink()
    assert read.correct(0) is None


def test_a_bit_takes_a_bit() -> None:
    packed = pack(np.ones((3, 200_000), bool))
    assert packed.bits.nbytes == 75_000
    assert isinstance(packed, Packed)
    assert examples.file_name(12) == "examples/00012.npz"
