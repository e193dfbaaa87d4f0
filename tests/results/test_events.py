"""What is an event of the journal: each kind in its shortest form, and each mistake in its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ressearch.errors import StudyError
from ressearch.results.journal import check, events, mend_last_line

POINT = {
    "seed": 0,
    "epoch": 1,
    "lr": 0.1,
    "train_loss": 2.0,
    "train_accuracy": 0.25,
    "val_loss": 1.5,
    "val_accuracy": 0.5,
    "seconds": 3.0,
}
START = {
    "event": "start",
    "trial": 0,
    "name": "basic-d1-w4",
    "params": 10,
    "macs": 20,
    "activations": 30,
    "depth": 4,
    "depths": [1],
    "widths": [4],
    "recipe": "{}",
    "seeds": [0, 1],
    "started_at": 1000,
}
EVENTS: dict[str, dict[str, Any]] = {
    "session": {"event": "session"},
    "start": START,
    "reopen": {"event": "reopen", "trial": 3, "at": 5},
    "epoch": {"event": "epoch", "trial": 3, "results": [POINT, {**POINT, "seed": 1}]},
    "end": {"event": "end", "trial": 3, "status": "completed", "ended_at": 2000},
    "plan": {"event": "plan", "phase": "final", "trials": [4, 5]},
    "finish": {"event": "finish", "phase": "search", "reason": "the budget is spent"},
    "change": {"event": "change", "key": "search.trials"},
    "restore": {"event": "restore", "trial": 3, "row": {"trial": 3}, "curves": [POINT]},
}


@pytest.mark.parametrize("kind", EVENTS)
def test_the_shortest_event_of_each_kind_is_one(kind: str) -> None:
    check(EVENTS[kind])
    check({**EVENTS[kind], "at": 1_700_000_000_000, "unheard_of": object()})
    check({**EVENTS[kind], **({"at": None} if kind != "reopen" else {})})


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind, event in EVENTS.items() for key in event if key != "event"]
)
def test_an_event_needs_each_of_its_keys(kind: str, key: str) -> None:
    said = f"{key}: None is not what '{kind}' needs"
    for event in (
        {name: value for name, value in EVENTS[kind].items() if name != key},
        {**EVENTS[kind], key: None},
    ):
        with pytest.raises(ValueError, match=f"^{said}$"):
            check(event)


def changed(kind: str, **values: Any) -> dict[str, Any]:
    return {**EVENTS[kind], **values}


GOOD: list[dict[str, Any]] = [
    changed("start", trial=2**63 - 1),
    changed("start", lr=1, val_loss=float("nan"), grouped=True, devices=0.5, examples=7, reason="", seeds=[]),
    changed("start", devices=2, skip_options='{"alpha": 0.5}', answers="{}", group_width=[8], se_ratio=None),
    changed("start", bottleneck_ratio=[0.25, 1], macs=-(2**63)),
    changed("epoch", results=[{**POINT, "lr": 1, "val_loss": float("inf")}], trial=0),
    changed("epoch", device="cpu", engine="x"),
    *(changed("end", status=status) for status in ("completed", "stopped", "diverged", "failed", "interrupted")),
    changed("plan", trials=[]),
    changed("restore", curves=[], row={}),
    changed("restore", row={"skip_options": None, "macs": 7, "recipe": "{}"}),
]


@pytest.mark.parametrize("event", GOOD, ids=lambda event: str({k: v for k, v in event.items() if k != "event"})[-40:])
def test_what_fits_its_column_is_taken(event: dict[str, Any]) -> None:
    check(event)


BAD: list[tuple[Any, str]] = [
    ([1], "expected a mapping, got [1]"),
    ("x" * 100, "expected a mapping, got '" + "x" * 56 + "..."),
    ("x" * 58, "expected a mapping, got '" + "x" * 58 + "'"),
    ("x" * 59, "expected a mapping, got '" + "x" * 56 + "..."),
    ({}, "event: None is unknown; known: session, start, reopen, epoch, end, plan, finish, change, restore"),
    ({"event": "strt"}, "event: 'strt' is unknown; did you mean 'start'?"),
    ({"event": 3}, "event: 3 is unknown; known: session, start, reopen, epoch, end, plan, finish, change, restore"),
    ({"event": ["end"]}, "event: ['end'] is unknown; did you mean 'end'?"),
    (changed("end", trial=-1), "trial: -1 is not what 'end' needs"),
    (changed("end", trial=True), "trial: True is not what 'end' needs"),
    (changed("end", trial=1.0), "trial: 1.0 is not what 'end' needs"),
    (changed("start", trial=2**63), "trial: 9223372036854775808 is not what 'start' needs"),
    (changed("end", status="running"), "status: 'running' is not what 'end' needs"),
    (changed("end", status="over"), "status: 'over' is not what 'end' needs"),
    (changed("end", status=["failed"]), "status: ['failed'] is not what 'end' needs"),
    (changed("end", ended_at=1.5), "ended_at: 1.5 is not what 'end' needs"),
    (changed("reopen", at=True), "at: True is not what 'reopen' needs"),
    (changed("end", at="now"), "at: 'now' is no time in milliseconds"),
    (changed("session", at=1.5), "at: 1.5 is no time in milliseconds"),
    (changed("session", at=-(2**63) - 1), "at: -9223372036854775809 is no time in milliseconds"),
    (changed("start", macs=1.5), "macs: 1.5 is not what 'start' needs"),
    (changed("start", widths=[4, "a"]), "widths: [4, 'a'] is not what 'start' needs"),
    (changed("start", widths=4), "widths: 4 is not what 'start' needs"),
    (changed("start", widths=(4,)), "widths: (4,) is not what 'start' needs"),
    (changed("start", name=3), "name: 3 is not what 'start' needs"),
    (changed("start", recipe="x"), "recipe: 'x' is no JSON of a mapping"),
    (changed("start", recipe="[1]"), "recipe: '[1]' is no JSON of a mapping"),
    (changed("start", recipe="[" * 100_000), "recipe: '" + "[" * 56 + "... is no JSON of a mapping"),
    (changed("start", skip_options="3"), "skip_options: '3' is no JSON of a mapping"),
    (changed("start", answers="null"), "answers: 'null' is no JSON of a mapping"),
    (changed("start", answers=3), "answers: 3 is not of the type of this column"),
    (changed("start", lr="a"), "lr: 'a' is not of the type of this column"),
    (changed("start", lr=True), "lr: True is not of the type of this column"),
    (changed("start", lr=2**63), "lr: 9223372036854775808 is not of the type of this column"),
    (changed("start", grouped=1), "grouped: 1 is not of the type of this column"),
    (changed("start", devices="2"), "devices: '2' is not of the type of this column"),
    (changed("start", examples=2.0), "examples: 2.0 is not of the type of this column"),
    (changed("start", seed_val_accuracies=[None]), "seed_val_accuracies: [None] is not of the type of this column"),
    (changed("epoch", device=3), "device: 3 is not of the type of this column"),
    (changed("epoch", results={}), "results: {} is not what 'epoch' needs"),
    (changed("epoch", results=[3]), "results: [3] is not what 'epoch' needs"),
    (changed("epoch", results=[]), "results: expected one or more seeds of one epoch"),
    (changed("epoch", results=[POINT, {**POINT, "epoch": 2}]), "results: expected one or more seeds of one epoch"),
    (changed("epoch", results=[POINT, {**POINT, "lr": None}]), "lr: None is not what an epoch needs"),
    (changed("epoch", results=[{**POINT, "seed": 0.0}]), "seed: 0.0 is not what an epoch needs"),
    (changed("restore", curves=[{**POINT, "seconds": "3"}]), "seconds: '3' is not what an epoch needs"),
    (changed("restore", curves=[{"seed": 1}]), "epoch: None is not what an epoch needs"),
    (changed("restore", curves=[3]), "curves: [3] is not what 'restore' needs"),
    (changed("restore", row={"macs": "x"}), "macs: 'x' is not of the type of this column"),
    (changed("restore", row=[]), "row: [] is not what 'restore' needs"),
    (changed("plan", trials=[1, None]), "trials: [1, None] is not what 'plan' needs"),
    (changed("finish", reason=3), "reason: 3 is not what 'finish' needs"),
    (changed("change", key=3), "key: 3 is not what 'change' needs"),
]


@pytest.mark.parametrize(("event", "message"), BAD, ids=lambda value: str(value)[:60])
def test_what_is_no_event_is_refused_in_these_words(event: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check(event)
    assert str(caught.value) == message


@pytest.mark.parametrize("key", [key for key in POINT if key != "epoch"])
def test_a_point_of_a_learning_curve_needs_each_of_its_numbers(key: str) -> None:
    without = {name: value for name, value in POINT.items() if name != key}
    with pytest.raises(ValueError, match=f"^{key}: None is not what an epoch needs$"):
        check(changed("epoch", results=[POINT, without]))


def test_lines_are_numbered_and_empty_ones_are_passed_over(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b'{"event": "session"}\n\n{"event": "change", "key": "a"}\n')
    assert list(events(journal)) == [(1, {"event": "session"}), (3, {"event": "change", "key": "a"})]
    journal.write_bytes(b"")
    assert list(events(journal)) == []


SESSION = b'{"event": "session"}'


@pytest.mark.parametrize(
    ("data", "count", "message"),
    [
        (SESSION, 1, None),  # whole, without its newline
        (SESSION + b"\n" + SESSION[:9], 1, None),  # cut
        (SESSION + b"\n\xff\xfe", 1, None),
        (SESSION + b"\n" + b"[" * 100_000, 1, None),
        (SESSION + b"\n{\n", 1, "2: damaged line: not valid JSON"),
        (b"{\n" + SESSION + b"\n", 0, "1: damaged line: not valid JSON"),
        (SESSION + b"\n" + b"[" * 100_000 + b"\n", 1, "2: damaged line: not valid JSON"),
        (b"\xff\n" + SESSION, 0, "1: damaged line: not valid JSON"),
        (SESSION + b"\n3", 1, "2: damaged line: expected a mapping, got 3"),
        (SESSION + b'\n{"event": "change"}\n', 1, "2: damaged line: key: None is not what 'change' needs"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_only_a_last_line_may_be_cut(data: bytes, count: int, message: str | None, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(data)
    read, said = [], None
    try:
        for number, event in events(journal):
            read.append((number, event))
    except StudyError as error:
        said = str(error)
    assert read == [(number + 1, {"event": "session"}) for number in range(count)]
    assert said == (None if message is None else f"{journal}:{message}")


def test_a_journal_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        list(events(tmp_path / "none.jsonl"))
    assert str(caught.value) == f"{tmp_path / 'none.jsonl'}: cannot be read: no such file or directory"
    with pytest.raises(StudyError, match=r"cannot be read: is a directory$"):
        list(events(tmp_path))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (SESSION + b"\n", SESSION + b"\n"),
        (SESSION, SESSION + b"\n"),
        (SESSION + b"\n" + SESSION, SESSION + b"\n" + SESSION + b"\n"),
        (SESSION + b"\n" + SESSION[:7], SESSION + b"\n"),
        (SESSION + b"\n" + b"[" * 100_000, SESSION + b"\n"),
        (b'{"event', b""),
        (b"\xff\xfe", b""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_next_event_starts_a_line_of_its_own(before: bytes, after: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(before)
    mend_last_line(journal)
    assert journal.read_bytes() == after
