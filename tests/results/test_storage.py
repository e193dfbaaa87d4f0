"""A study directory at a URL and its working copy, without a network and without waiting."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from clocks import Clock

from ressearch import remote
from ressearch.errors import StudyError
from ressearch.results import ownership, storage
from ressearch.results.storage import Mirror, is_url, localise


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    """A clock for owners and mirrors, no patience, and a cache of the test's own."""
    clock = Clock()
    monkeypatch.setattr(ownership, "time", clock)
    monkeypatch.setattr(storage, "time", clock)
    monkeypatch.setattr(remote, "PATIENCE", 0.0)
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "cache"))
    return clock


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/there"


def listed(directory: Path) -> list[str]:
    return sorted(str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file())


def written(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"{name}\n")


def test_a_url_has_a_scheme() -> None:
    assert [is_url(place) for place in ("s3://a/b", Path("a"), "a/b", "c:\\a")] == [True, False, False, False]


def test_what_is_no_file_system_is_said_in_one_line() -> None:
    with pytest.raises(StudyError, match=r"^nowhere://a/b: cannot be reached: "):
        Mirror("nowhere://a/b")


def test_a_mirror_copies_all_but_locks_checkpoints_and_unfinished_files(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url + "/")
    assert mirror.url == url
    assert mirror.local.parent == tmp_path / "cache" / "runs"
    assert re.fullmatch("[0-9a-f]{16}", mirror.local.name)
    assert mirror.local == Mirror(url).local != Mirror(url + "2").local
    assert (mirror.names(), mirror.problem, mirror.is_unsent) == ([], None, False)
    written(mirror.local, "journal.jsonl", "sub/deep/a.txt", ".lock", "checkpoints/a", ".tune/a", "trials.parquet.part")
    mirror.push()
    assert mirror.problem is None
    assert listed(tmp_path / "there") == ["journal.jsonl", "sub/deep/a.txt"]
    assert (tmp_path / "there" / "sub/deep/a.txt").read_text() == "sub/deep/a.txt\n"
    assert mirror.is_unsent
    written(tmp_path / "there", ".lock", "checkpoints/0/a")
    assert sorted(mirror.names()) == ["checkpoints/0/a", "journal.jsonl", "sub/deep/a.txt"]
    reader = tmp_path / "reader"
    mirror.fetch(reader)
    assert listed(reader) == ["journal.jsonl", "sub/deep/a.txt"]
    deeper = tmp_path / "further" / "reader"
    mirror.fetch(deeper)
    mirror.fetch(deeper)  # again, over what is there
    assert listed(deeper) == ["journal.jsonl", "sub/deep/a.txt"]
    mirror.remove_checkpoints()
    assert sorted(mirror.names()) == ["journal.jsonl", "sub/deep/a.txt"]
    mirror.remove_checkpoints()


def test_a_mirror_copies_every_few_seconds_and_what_has_changed(url: str, tmp_path: Path, clock: Clock) -> None:
    mirror, there = Mirror(url), tmp_path / "there"
    written(mirror.local, "journal.jsonl", "other")
    mirror.push()
    (there / "other").write_text("changed there")
    (mirror.local / "journal.jsonl").write_text("more of it\n")
    clock.now += 4.9
    mirror.push()
    assert (there / "journal.jsonl").read_text() == "journal.jsonl\n"
    clock.now += 0.2
    mirror.push()
    assert (there / "journal.jsonl").read_text() == "more of it\n"
    assert (there / "other").read_text() == "changed there"  # has not changed here
    (mirror.local / "journal.jsonl").write_text("still more of it\n")
    mirror.push(force=True)
    assert (there / "journal.jsonl").read_text() == "still more of it\n"


def test_what_was_fetched_is_not_copied_back(url: str, tmp_path: Path) -> None:
    written(tmp_path / "there", "journal.jsonl", "other")
    mirror = Mirror(url)
    mirror.pull()
    (tmp_path / "there" / "other").write_text("changed there")
    mirror.push()
    assert (tmp_path / "there" / "other").read_text() == "changed there"


def test_the_owner_of_a_url_is_named_with_it(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    with (
        mirror.owned(),
        pytest.raises(StudyError, match=f"^{url}: another process works on this study"),
        Mirror(url).owned(),
    ):
        pass


def test_a_mirror_that_cannot_copy_tries_ever_more_rarely(url: str, clock: Clock, monkeypatch: Any) -> None:
    mirror, tried = Mirror(url), []

    def copy() -> None:
        tried.append(clock.now)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mirror, "_copy", copy)
    for _ in range(400):
        mirror.push(force=True)
        clock.now += 1
    assert mirror.problem == "No space left on device"
    assert [later - sooner for sooner, later in itertools.pairwise(tried)] == [10, 20, 40, 60, 60, 60, 60, 60]
    mirror.finish()
    assert mirror.problem == "No space left on device"
    monkeypatch.setattr(mirror, "_copy", lambda: tried.append(clock.now))
    clock.now += 60
    mirror.push()
    assert mirror.problem is None
    count = len(tried)
    for _ in range(10):
        mirror.push()
        clock.now += 1
    assert len(tried) == count + 1  # every five seconds again
    mirror.problem = "something"
    mirror.finish()
    assert (mirror.problem, len(tried)) == (None, count + 2)


def test_a_mirror_whose_study_was_taken_over_writes_no_more(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    written(mirror.local, "journal.jsonl")
    mirror._owner.has_lost = True
    with pytest.raises(OSError, match=r"^\[Errno None\] another process has taken the study over$"):
        mirror.push()
    mirror.finish()
    assert mirror.problem == "another process has taken the study over"
    assert listed(tmp_path) == [str(mirror.local.relative_to(tmp_path) / "journal.jsonl")]


def test_an_owned_mirror_ends_with_everything_there_and_nothing_here(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    with mirror.owned():
        written(mirror.local, "journal.jsonl")
        assert listed(tmp_path / "there") == [".lock"]
    assert listed(tmp_path / "there") == ["journal.jsonl"]
    assert not mirror.local.exists()


def test_a_record_that_never_arrives_stays_here_and_is_named(url: str, monkeypatch: Any, caplog: Any) -> None:
    mirror = Mirror(url)
    said = (
        f"{url}: cannot be written (broken); the whole record is in {mirror.local}, and `ressearch resume {url}` on "
        "this machine copies it"
    )

    def copy() -> None:
        raise ValueError("broken")

    monkeypatch.setattr(mirror, "_copy", copy)
    with pytest.raises(StudyError) as caught, mirror.owned():
        written(mirror.local, "journal.jsonl")
    assert str(caught.value) == said
    assert listed(mirror.local) == ["journal.jsonl"]
    assert caplog.messages == []
    with pytest.raises(KeyError), mirror.owned():
        raise KeyError
    assert caplog.messages == [said]
    mirror.problem = None
    with pytest.raises(KeyError), mirror.owned():
        raise KeyError
    assert caplog.messages == [said]


def test_a_study_is_begun_only_where_nothing_is(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    mirror.require_empty()
    with pytest.raises(StudyError) as caught:
        mirror.require_some()
    assert str(caught.value) == f"{url}: holds no study"
    written(mirror.local, "journal.jsonl")
    mirror.require_some()
    further = f"nothing was overwritten: `ressearch resume {url}` goes on with a study"
    with pytest.raises(StudyError) as caught:
        mirror.require_empty()
    assert str(caught.value) == (
        f"{url}: an earlier record that was to go there is in {mirror.local}; {further}, removing that "
        "directory gives it up"
    )
    written(tmp_path / "there", "run.json")
    with pytest.raises(StudyError) as caught:
        mirror.require_empty()
    assert str(caught.value) == f"{url}: is not empty; {further}"
    (mirror.local / "journal.jsonl").unlink()
    mirror.require_some()


@pytest.mark.parametrize(
    ("here", "there", "pulled", "is_kept"),
    [
        (None, "a\n", "a\n", False),
        ("a\nb\n", "a\n", "a\nb\n", False),  # ahead: an earlier process could not copy all
        ("a\n", "a\n", "a\n", False),
        ("a\n", "a\nb\n", "a\nb\n", False),  # behind
        ("a\nb\n", "a\nc\n", "a\nc\n", True),  # another machine went on: ours is put aside
        ("a\n", None, "a\n", False),
    ],
)
def test_pulling_never_loses_a_record(
    here: str | None, there: str | None, pulled: str, is_kept: bool, url: str, tmp_path: Path
) -> None:
    mirror = Mirror(url)
    written(mirror.local, "left over")
    written(tmp_path / "there", "run.json", "checkpoints/a")
    for directory, text in ((mirror.local, here), (tmp_path / "there", there)):
        if text is not None:
            (directory / "journal.jsonl").write_text(text)
    assert mirror.pull() == mirror.local
    assert (mirror.local / "journal.jsonl").read_text() == pulled
    is_ahead = here is not None and here != there and here.startswith(there or "")
    assert listed(mirror.local) == ["journal.jsonl", "left over" if is_ahead else "run.json"]
    aside = [one for one in mirror.local.parent.iterdir() if one != mirror.local]
    assert [one.name for one in aside] == [f"{mirror.local.name}-1000000000000"] * is_kept
    if is_kept:
        assert (aside[0] / "journal.jsonl").read_text() == here
    mirror.push()
    expected = ["checkpoints/a", "journal.jsonl", *(["left over"] if is_ahead else []), "run.json"]
    assert listed(tmp_path / "there") == expected


def test_a_record_there_that_cannot_be_read_is_said_in_one_line(url: str, tmp_path: Path) -> None:
    mirror = Mirror(url)
    written(mirror.local, "journal.jsonl")
    (tmp_path / "there" / "journal.jsonl").mkdir(parents=True)
    with pytest.raises(StudyError) as caught:
        mirror.pull()
    assert str(caught.value) == f"{url}: cannot be read: Is a directory"
    assert listed(mirror.local) == ["journal.jsonl"]


def test_readers_get_fresh_copies_of_urls_and_paths_as_they_are(url: str, tmp_path: Path) -> None:
    assert localise(tmp_path) == tmp_path
    assert localise(str(tmp_path)) == tmp_path
    written(tmp_path / "there", "run.json", "old", "checkpoints/a")
    copy = localise(url)
    assert listed(copy) == ["old", "run.json"]
    assert not copy.is_relative_to(tmp_path)
    (tmp_path / "there" / "old").unlink()
    assert listed(localise(url)) == ["run.json"]
