"""Study directories that may be read alone: what reads works, what writes says so in one line."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def read_only(small_run: Path) -> Iterator[Path]:
    """A complete study that may be read and not written."""
    folder = Path(tempfile.mkdtemp(prefix="ressearch-read-only-"))
    try:
        directory = Path(shutil.copytree(small_run, folder / "run"))
        for one in (folder, *folder.rglob("*")):
            one.chmod(0o555 if one.is_dir() else 0o444)
        probe = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w')", str(directory / "probe")]
        if subprocess.run(probe, preexec_fn=give_up_overriding, capture_output=True, check=False).returncode == 0:
            pytest.skip("permissions do not bind this user")
        yield directory
    finally:
        for one in (folder, *folder.rglob("*")):
            if one.is_dir():
                one.chmod(0o755)
        shutil.rmtree(folder)


def give_up_overriding() -> None:
    """Have the process, root's too, obey the permissions of files: `prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)`."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


def ressearch(*command: str) -> tuple[int, str, str]:
    """Run the command line as one who may not write where the permissions forbid it; returns code, output, errors."""
    done = subprocess.run(
        [sys.executable, "-m", "ressearch", *command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=give_up_overriding,
    )
    return done.returncode, done.stdout, done.stderr


def test_reading_commands_work_on_a_directory_that_may_only_be_read(read_only: Path) -> None:
    code, out, err = ressearch("status", str(read_only))
    assert (code, err) == (0, "")
    assert "complete, 4 of 4 trials ended" in out
    code, out, err = ressearch("pick", str(read_only))
    assert (code, err) == (0, "")
    code, out, err = ressearch("resume", str(read_only))
    assert (code, err) == (0, "")
    assert "complete already; nothing to do" in out


def test_what_would_write_there_says_so_in_one_line(read_only: Path) -> None:
    code, _, err = ressearch("report", str(read_only))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "--out" in err
    code, _, err = ressearch("export", str(read_only), "--out", str(read_only / "network.pt"))
    assert code == 2
    assert len(err.splitlines()) == 1
    journal = read_only / "journal.jsonl"
    text = journal.read_text()
    journal.chmod(0o644)
    journal.write_text(text[: text.rindex('{"event": "end"')])
    journal.chmod(0o444)
    for table in ("trials", "curves"):
        read_only.chmod(0o755)
        (read_only / f"{table}.parquet").unlink()
        read_only.chmod(0o555)
    code, out, err = ressearch("status", str(read_only))
    assert (code, err) == (0, "")
    assert "not complete, 3 of 4 trials ended" in out
    code, _, err = ressearch("resume", str(read_only))
    assert code == 2
    assert err == f"ressearch: error: {read_only}: cannot be written: permission denied\n"
