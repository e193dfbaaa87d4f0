"""Where published files are looked for, how they are got, and that none stands under its name but whole."""

from __future__ import annotations

import hashlib
import io
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from ressearch.data import files as room
from ressearch.data.files import PUBLISHED, Published, _idx, fetch, home, how_to_get, places, shared
from ressearch.errors import DataError

FOUR = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def test_four_files_have_their_sums_in_order() -> None:
    assert _idx("u", "abcd") == Published("u", dict(zip(FOUR, "abcd", strict=True)), None, {})
    made = _idx("u", "abcd", ("package", "folder"), "ef")
    assert made == Published(
        "u", dict(zip(FOUR, "abcd", strict=True)), ("package", "folder"), {FOUR[0]: "e", FOUR[1]: "f"}
    )
    for sums in ("abc", "abcde"):
        with pytest.raises(ValueError, match="zip"):
            _idx("u", sums)


def test_data_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.delenv("RESSEARCH_DATA", raising=False)
    assert home() == Path("/cache/ressearch/data")
    monkeypatch.setenv("RESSEARCH_DATA", "/mine")
    assert home() == Path("/mine")
    monkeypatch.delenv("RESSEARCH_DATA_PATH", raising=False)
    assert shared() == [Path("/usr/share/datasets")]
    for given, expected in (("", []), ("/a", ["/a"]), ("/a::/b:", ["/a", "/b"])):
        monkeypatch.setenv("RESSEARCH_DATA_PATH", given)
        assert shared() == [Path(one) for one in expected]
    monkeypatch.setenv("RESSEARCH_DATA_PATH", "/a:/b")
    debian = ["/mine/fashion_mnist", "/a/fashion-mnist", "/a/fashion_mnist", "/b/fashion-mnist", "/b/fashion_mnist"]
    assert places("fashion_mnist", None) == [Path(one) for one in debian]
    assert places("mnist", None) == [Path("/mine/mnist"), Path("/a/mnist"), Path("/b/mnist")]
    assert places("mnist", "/root") == [Path("/root"), Path("/root/mnist")]


def test_a_command_and_a_package_get_a_data_set() -> None:
    assert how_to_get("mnist") == "`ressearch data fetch mnist` gets it"
    assert how_to_get("fashion_mnist") == (
        "`ressearch data fetch fashion_mnist` or `apt install dataset-fashion-mnist` gets it"
    )


class Web:
    """Answers each address with bytes or an error, and notes what is asked for and read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, bytes | Exception]) -> None:
        self.answers, self.asked, self.timeouts = answers, [], set()  # type: ignore[var-annotated]
        self.sizes: set[int] = set()
        self.beside: list[str] = []
        self.directory: Path | None = None
        monkeypatch.setattr("urllib.request.urlopen", self.open)

    def open(self, url: str, timeout: float) -> Any:
        self.asked.append(url)
        self.timeouts.add(timeout)
        answer = self.answers[url]
        if isinstance(answer, Exception):
            raise answer
        web = self

        class Answer(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                web.sizes.add(-1 if size is None else size)
                if web.directory is not None:
                    web.beside += [one.name for one in web.directory.iterdir()]
                return super().read(size)

        return Answer(answer)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A published data set of two files, the second in several blocks."""
    content = {"one.gz": b"first", "two.gz": bytes(2**20) + b"second"}
    monkeypatch.setitem(PUBLISHED, "mnist", Published("http://x/y/", {name: md5(one) for name, one in content.items()}))
    return content


def test_files_are_fetched_to_the_home_of_data_block_by_block(
    two: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESSEARCH_DATA", str(tmp_path / "deep" / "home"))
    web = Web(monkeypatch, {f"http://x/y/{name}": one for name, one in two.items()})
    directory = tmp_path / "deep" / "home" / "mnist"
    web.directory = directory
    assert fetch("mnist") == directory
    assert {one.name: one.read_bytes() for one in directory.iterdir()} == two
    assert (web.asked, web.timeouts, web.sizes) == (["http://x/y/one.gz", "http://x/y/two.gz"], {60}, {2**20})
    assert set(web.beside) == {".one.gz.part", "one.gz", ".two.gz.part"}
    assert capsys.readouterr().out == f"{directory / 'one.gz'}: fetched\n{directory / 'two.gz'}: fetched\n"
    (directory / "two.gz").write_bytes(b"spoilt")
    assert fetch("mnist") == directory
    assert (directory / "two.gz").read_bytes() == two["two.gz"]
    assert capsys.readouterr().out == f"{directory / 'one.gz'}: there already\n{directory / 'two.gz'}: fetched\n"
    assert web.asked[2:] == ["http://x/y/two.gz"]


def test_another_place_and_another_directory_may_be_named(
    two: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    Web(monkeypatch, {f"http://z/{name}": one for name, one in two.items()})
    for name, url in (("a", "http://z"), ("b", "http://z/"), ("c", "http://z//")):
        assert fetch("mnist", tmp_path / name, url, said.append) == tmp_path / name
    assert len(said) == 6


def test_of_cifars_archives_the_one_of_python_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = {"cifar-10-binary.tar.gz": md5(b"b"), "cifar-10-python.tar.gz": md5(b"p")}
    monkeypatch.setitem(PUBLISHED, "cifar10", Published("http://x", sums))
    web = Web(monkeypatch, {"http://x/cifar-10-python.tar.gz": b"p"})
    fetch("cifar10", tmp_path, say=lambda line: None)
    assert web.asked == ["http://x/cifar-10-python.tar.gz"]
    assert [one.name for one in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"other", f"the file's MD5 is {md5(b'other')}, not {md5(b'first')}; nothing was kept"),
        (urllib.error.URLError("no such host"), "cannot be fetched: no such host"),
        (TimeoutError("timed out"), "cannot be fetched: timed out"),
        (ValueError("unknown url type: 'x'"), "cannot be fetched: unknown url type: 'x'"),
    ],
)
def test_what_cannot_be_got_whole_leaves_nothing(
    two: dict[str, bytes], answer: bytes | Exception, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Web(monkeypatch, {"http://x/y/one.gz": answer})
    with pytest.raises(DataError) as refused:
        fetch("mnist", tmp_path / "here")
    assert str(refused.value) == f"http://x/y/one.gz: {message}"
    assert list((tmp_path / "here").iterdir()) == []


def test_a_directory_that_cannot_be_made_is_said(two: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as refused:
        fetch("mnist", tmp_path / "file")
    assert str(refused.value).startswith("http://x/y/one.gz: cannot be fetched: [Errno ")


def test_a_transfer_that_breaks_off_leaves_nothing(
    two: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise ConnectionResetError(104, "Connection reset by peer")
            return super().read(2)

    monkeypatch.setattr(room.urllib.request, "urlopen", lambda url, timeout: Broken(b"first"))
    with pytest.raises(DataError, match=r"^http://x/y/one\.gz: cannot be fetched: \[Errno 104\] Connection reset"):
        fetch("mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []
