"""Files of published data sets: where they may lie, their checksums, and fetching them when somebody says so.

Nothing is downloaded but by `fetch`, and a file stands under its name only once it is whole and its checksum agrees.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import os
import pickle
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ressearch.cache import default_directory
from ressearch.errors import DataError

IDX_FILES = {
    ("train", "images"): "train-images-idx3-ubyte.gz",
    ("train", "labels"): "train-labels-idx1-ubyte.gz",
    ("test", "images"): "t10k-images-idx3-ubyte.gz",
    ("test", "labels"): "t10k-labels-idx1-ubyte.gz",
}


@dataclass(frozen=True)
class Published:
    """Where a data set's files are published.

    Attributes:
        url: of the directory.
        files: MD5 of each file, by name.
        debian: the Debian package that brings them, if one does, and its directory's name under `/usr/share/datasets`.
        contents: MD5 of what a file holds uncompressed, by the file's name: files are also spread compressed anew.
    """

    url: str
    files: dict[str, str]
    debian: tuple[str, str] | None = None
    contents: dict[str, str] = field(default_factory=dict)


def _idx(
    url: str, sums: Sequence[str], debian: tuple[str, str] | None = None, contents: Sequence[str] = ()
) -> Published:
    files = list(IDX_FILES.values())
    return Published(url, dict(zip(files, sums, strict=True)), debian, dict(zip(files, contents, strict=False)))


PUBLISHED: dict[str, Published] = {
    "mnist": _idx(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    "fashion_mnist": _idx(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        ("dataset-fashion-mnist", "fashion-mnist"),
        (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
    "kmnist": _idx(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        (
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    ),
    "cifar10": Published(
        "https://www.cs.toronto.edu/~kriz/",
        {
            "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
            "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
        },
    ),
    "cifar100": Published(
        "https://www.cs.toronto.edu/~kriz/",
        {
            "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
            "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
        },
    ),
}


def home() -> Path:
    """Return where `fetch` puts data sets: ``RESSEARCH_DATA``, else ``~/.cache/ressearch/data``."""
    if (chosen := os.environ.get("RESSEARCH_DATA")) is not None:
        return Path(chosen)
    return default_directory() / "data"


def shared() -> list[Path]:
    """Return the machine's own data directories: those of ``RESSEARCH_DATA_PATH`` (one after another, as in ``PATH``;
    empty for none), else ``/usr/share/datasets``."""
    chosen = os.environ.get("RESSEARCH_DATA_PATH", "/usr/share/datasets")
    return [Path(one) for one in chosen.split(os.pathsep) if one]


def places(name: str, root: str | None) -> list[Path]:
    """Return the directories where a data set's files are looked for, in order."""
    if root is not None:
        return [Path(root), Path(root) / name]
    debian = PUBLISHED[name].debian
    names = [name] if debian is None else [debian[1], name]
    return [home() / name, *(directory / one for directory in shared() for one in names)]


def how_to_get(name: str) -> str:
    """Say how a published data set is got."""
    debian = PUBLISHED[name].debian
    package = f" or `apt install {debian[0]}`" if debian else ""
    return f"`ressearch data fetch {name}`{package} gets it"


def md5(path: Path) -> str:
    """Return a file's MD5."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


_DEFLATED = 1032
"""Deflate makes at most so many bytes of one."""


def read_idx(path: Path) -> np.ndarray:
    """Return the bytes of a gzipped IDX file, in its shape. Raises DataError if it is damaged."""
    most = path.stat().st_size * _DEFLATED
    try:
        with gzip.open(path) as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08":
                raise DataError(f"{path}: no IDX file of bytes (it starts with {start.hex() or 'nothing'})")
            sides = file.read(4 * start[3])
            shape = tuple(int.from_bytes(sides[at : at + 4], "big") for at in range(0, len(sides), 4))
            expected = math.prod(shape)
            if len(sides) < 4 * start[3] or expected > most:
                raise DataError(f"{path}: damaged: its header says {expected:,} bytes, more than it can hold")
            data = file.read(expected + 1)
    except DataError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
    if len(data) != expected:
        there = f"only {len(data)}" if len(data) < expected else "more"
        raise DataError(f"{path}: damaged: its header says {expected} bytes of data, but there are {there}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def check_sum(path: Path, published: Published) -> None:
    """Raise DataError if a file is not the published one (or, compressed anew, does not hold what that holds)."""
    expected = published.files[path.name]
    found = md5(path)
    if found == expected:
        return
    content = published.contents.get(path.name)
    if content is not None:
        with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
            if hashlib.file_digest(file, "md5").hexdigest() == content:
                return
    raise DataError(
        f"{path}: its MD5 is {found}, the published file's {expected}: damaged, or not the published file "
        "(then data.verify: false reads it)"
    )


class _Plain(pickle.Unpickler):
    """Reads the pickles of the CIFAR archives, which hold lists and arrays; refuses to load anything else."""

    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}")
        if module == "numpy.core.multiarray":
            module = "numpy._core.multiarray"
        return super().find_class(module, name)


def read_cifar(path: Path, label: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (pixels, labels) of the ``train`` and ``test`` parts of a CIFAR archive, Python's or the binary one.

    Args:
        path: the ``.tar.gz``.
        label: ``labels`` (CIFAR-10) or ``fine_labels`` (CIFAR-100).

    Raises:
        DataError: the archive is damaged or holds something else.
    """
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"train": [], "test": []}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in sorted(tar, key=lambda one: one.name):
                name = member.name.rpartition("/")[2]
                part = "test" if name.startswith("test") else "train"
                if not member.isfile() or not name.startswith(("data_batch", "train", "test")):
                    continue
                file = tar.extractfile(member)
                assert file is not None
                if name.endswith(".bin"):
                    coarse = 1 if label == "fine_labels" else 0
                    rows = np.frombuffer(file.read(), np.uint8).reshape(-1, 3073 + coarse)
                    parts[part].append((rows[:, 1 + coarse :], rows[:, coarse]))
                elif "." not in name:
                    batch = _Plain(io.BytesIO(file.read()), encoding="bytes").load()
                    rows, numbers = np.asarray(batch[b"data"], np.uint8), np.array(batch[label.encode()], np.int64)
                    if rows.ndim != 2 or rows.shape[1] != 3072 or numbers.shape != rows.shape[:1]:
                        raise ValueError(f"{name}: images {rows.shape} and labels {numbers.shape} do not fit")
                    parts[part].append((rows, numbers))
    except Exception as error:  # tarfile and pickle raise a dozen kinds for damaged files
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: damaged, or no CIFAR archive: {said}") from None
    if not parts["train"] or not parts["test"]:
        raise DataError(f"{path}: holds no {'training' if not parts['train'] else 'test'} part of CIFAR")
    return {
        part: (np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found]).astype(np.int64))
        for part, found in parts.items()
    }


def fetch(name: str, root: Path | None = None, url: str | None = None, say: Callable[[str], None] = print) -> Path:
    """Download a published data set; files that are there and whole are left.

    Args:
        name: of `PUBLISHED`.
        root: directory to put it in; None is where it is looked for.
        url: another place that has the same files.
        say: told of each file.

    Returns:
        The directory.

    Raises:
        DataError: a file cannot be got, or is not the published one; then nothing stands under its name.
    """
    published = PUBLISHED[name]
    directory = root if root is not None else home() / name
    files = published.files
    if name.startswith("cifar"):  # one of the two archives is enough
        files = {file: sum_ for file, sum_ in files.items() if "python" in file}
    for file, expected in files.items():
        target = directory / file
        if target.is_file() and md5(target) == expected:
            say(f"{target}: there already")
            continue
        _download(f"{(url or published.url).rstrip('/')}/{file}", target, expected)
        say(f"{target}: fetched")
    return directory


def _download(url: str, target: Path, expected: str) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:
            while block := answer.read(2**20):
                file.write(block)
        found = md5(part)
        if found != expected:
            raise DataError(f"{url}: the file's MD5 is {found}, not {expected}; nothing was kept")
        part.replace(target)
    except DataError:  # a ValueError too
        raise
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise DataError(f"{url}: cannot be fetched: {getattr(error, 'reason', None) or error}") from None
    finally:
        with contextlib.suppress(OSError):  # not begun
            part.unlink()
