"""Labels, arrays and tables: the classes and inputs that they become, and every refusal whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from ressearch.data.tables import Layout, column, encode, files, read_table, require, to_tensor
from ressearch.errors import DataError


@pytest.mark.parametrize(
    ("labels", "indices", "classes"),
    [
        ([3, 1, 3], [1, 0, 1], ("1", "3")),
        ([10, 9, 10], [1, 0, 1], ("9", "10")),  # numbers are sorted as numbers
        (["10", "9"], [0, 1], ("10", "9")),
        ([2.0, -1.0, 2.0], [1, 0, 1], ("-1", "2")),
        ([True, False], [1, 0], ("False", "True")),
        (["b", "a", "b"], [1, 0, 1], ("a", "b")),
        (np.array([b"b", b"a"]), [1, 0], ("a", "b")),
        (np.array(["\u00e9".encode(), b"a"]), [1, 0], ("a", "\u00e9")),
        (np.array(["b", 1, "b"], dtype=object), [1, 0, 1], ("1", "b")),
        (np.array(["b", 1.5, True], dtype=object), [2, 0, 1], ("1.5", "True", "b")),
        (np.array([7, 5], dtype=np.uint8), [1, 0], ("5", "7")),
        ([2.0**53, 0.0], [1, 0], ("0", str(2**53))),
    ],
)
def test_labels_become_indices_of_sorted_classes(labels: Any, indices: list[int], classes: tuple[str, ...]) -> None:
    found, names = encode(labels, "w")
    assert (found.tolist(), found.dtype, names) == (indices, torch.int64, classes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[1], [1, 2]], "expected one label an example, got lists"),
        ([[1], [2]], "expected one label for each example, got shape (2, 1)"),
        ([1.0, float("nan"), float("nan")], "row 1 has no label"),
        ([1.0, 2.0, 2.5, 0.5], "row 2: 2.5 is no class"),
        ([1.0, float("inf")], "row 1: inf is no class"),
        ([1.0, 2.0**54], "row 1: 1.80144e+16 is no class"),
        (["a", "", ""], "row 1 has no label"),
        (np.array(["a", None], dtype=object), "row 1 has no label"),
        (np.array(["a", "b", ""], dtype=object), "row 2 has no label"),
        (np.array(["a", float("nan")], dtype=object), "row 1 has no label"),
        (np.array(["a", {}], dtype=object), "row 1: dict is no class; expected a number or a text"),
        (
            np.array(["2020-01-01"], dtype="M8[D]"),
            "labels of type datetime64[D] are no classes; expected numbers or texts",
        ),
        ([1j], "labels of type complex128 are no classes; expected numbers or texts"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(DataError) as refused:
        encode(labels, "file: 'y'")
    assert str(refused.value) == f"file: 'y': {message}"


@pytest.mark.parametrize(
    ("shape", "dtype", "out", "wanted", "is_identity", "moves"),
    [
        ((5, 7), "f4", (5, 7), "f4", True, False),
        ((5, 7), "f8", (5, 7), "f4", False, False),
        ((5, 7), "u1", (5, 7), "u1", True, False),
        ((5, 7), "i8", (5, 7), "f4", False, False),
        ((5, 7), "?", (5, 7), "f4", False, False),
        ((5, 4, 6), "u1", (5, 1, 4, 6), "u1", True, False),
        ((5, 4, 6), "f4", (5, 4, 6), "f4", True, False),
        ((5, 4, 6, 3), "u1", (5, 3, 4, 6), "u1", False, True),
        ((5, 4, 6, 1), "f4", (5, 1, 4, 6), "f4", False, True),
        ((5, 3, 6, 3), "u1", (5, 3, 6, 3), "u1", True, False),  # channels are first already
        ((5, 1, 6, 3), "u1", (5, 1, 6, 3), "u1", True, False),
        ((5, 4, 6, 2), "u1", (5, 4, 6, 2), "u1", True, False),
    ],
)
def test_arrays_have_one_layout(
    shape: tuple[int, ...], dtype: str, out: tuple[int, ...], wanted: str, is_identity: bool, moves: bool
) -> None:
    assert Layout.of(shape, np.dtype(dtype), "w") == Layout(out, np.dtype(wanted), is_identity, moves, "w")


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((5,), "f4", "expected an array of numbers, examples first; got float32 (5,)"),
        ((5, 1, 1, 1, 1), "u1", "expected an array of numbers, examples first; got uint8 (5, 1, 1, 1, 1)"),
        ((5, 2), "U3", "expected an array of numbers, examples first; got <U3 (5, 2)"),
        ((5, 0), "f4", "holds no examples (its shape is (5, 0))"),
        ((0, 5), "f4", "holds no examples (its shape is (0, 5))"),
    ],
)
def test_arrays_of_no_layout_are_refused(shape: tuple[int, ...], dtype: str, message: str) -> None:
    with pytest.raises(DataError) as refused:
        Layout.of(shape, np.dtype(dtype), "w")
    assert str(refused.value) == f"w: {message}"


def test_inputs_become_tensors_of_bytes_or_32_bits() -> None:
    last = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert np.array_equal(to_tensor(last, "w").numpy(), np.moveaxis(last, 3, 1))
    assert to_tensor(torch.tensor([[1, 2]]), "w").dtype == torch.float32
    assert to_tensor([[True, False]], "w").tolist() == [[1.0, 0.0]]
    fixed = np.zeros((2, 3), np.float32)
    fixed.flags.writeable = False
    to_tensor(fixed, "w")[0, 0] = 1.0
    assert fixed[0, 0] == 0
    with pytest.raises(DataError, match=r"^w: expected an array of numbers, examples first; got uneven lists$"):
        to_tensor([[1], [1, 2]], "w")
    for values, row in (([[1.0], [np.nan]], 1), ([[1e39, 0.0]], 0), ([[0.0], [0.0], [-np.inf]], 2)):
        with pytest.raises(DataError) as refused:
            to_tensor(np.array(values), "w")
        assert str(refused.value) == f"w: row {row} holds what is no finite number (of 32 bits)"
    layout = Layout.of((9, 1), np.dtype("f4"), "w")
    with pytest.raises(DataError, match=r"^w: row 7 holds"):
        layout.apply(np.array([[0], [np.nan]], np.float32), 6)


def test_columns_are_named_or_the_first_usual_one() -> None:
    usual = ("y", "label")
    assert column(["label", "y"], None, usual, "label", "w") == "y"
    assert column(["a", "label"], None, usual, "label", "w") == "label"
    assert column(["a"], None, usual, "label", "w") is None
    assert column(["a", "y"], "a", usual, "label", "w") == "a"
    with pytest.raises(DataError, match=r"^w: data\.label: no column 'kinds'; did you mean 'kind'\?$"):
        column(["kind", "y"], "kinds", usual, "label", "w")
    assert require("a", "label", ["a"], "w") == "a"
    for names, said in (
        ([], "none"),
        (["a", "b"], "a, b"),
        (list("abcdefghijklmnopqrst"), ", ".join("abcdefghijklmnopqrst")),
        (list("abcdefghijklmnopqrstuv"), ", ".join("abcdefghijklmnopqrst") + " and 2 more"),
    ):
        with pytest.raises(DataError) as refused:
            require(None, "image", names, "w")
        assert str(refused.value) == f"w: data.image has to name the column; there are {said}"


def test_a_directory_stands_for_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "deep/c.csv", "d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "e.csv").mkdir()
    assert files(str(tmp_path), ".csv") == [tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "deep" / "c.csv"]
    assert files(str(tmp_path / "d.txt"), ".csv") == [tmp_path / "d.txt"]
    for path, said in ((tmp_path, "holds no *.tar"), (tmp_path / "none", "no such file or directory")):
        with pytest.raises(DataError) as refused:
            files(str(path), ".tar")
        assert str(refused.value) == f"{path}: {said}"


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_tables_written_by_pandas_and_arrow_become_numbers(tmp_path: Path) -> None:
    columns = {"size": [1.5, 2.0, -3.0], "y": ["b", "a", "b"]}
    frame = pd.DataFrame(columns | {"kind": ["x", "z", "x"], "on": [True, False, True]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for file in ("t.csv", "t.parquet"):
        inputs, labels, classes, said, rows = read_table([tmp_path / file], None, "w")
        assert inputs.tolist() == [[1.5, 1, 0, 1], [2, 0, 1, 0], [-3, 1, 0, 1]]
        assert inputs.dtype == torch.float32
        assert (labels.tolist(), classes, said, rows) == (
            [1, 0, 1],
            ("a", "b"),
            "4 features (1 column of texts as one-hot)",
            [3],
        )
    more = write(tmp_path / "u.parquet", size=[7], y=["a"], kind=["w"], on=[True])
    inputs, labels, _, said, rows = read_table([tmp_path / "t.parquet", more], "kind", "w")
    assert inputs.shape == (4, 4)
    assert (labels.tolist(), rows, said) == ([1, 2, 1, 0], [3, 1], "4 features (1 column of texts as one-hot)")
    numbers = write(
        tmp_path / "n.parquet",
        label=[0, 1],
        text=["1.5", "2"],
        coded=pa.array(["p", "q"]).dictionary_encode(),
        large=pa.array(["r", "r"], pa.large_string()),
    )
    inputs, _, _, said, _ = read_table([numbers], None, "w")
    assert inputs.tolist() == [[1.5, 1, 0, 1], [2, 0, 1, 1]]
    assert said == "4 features (2 columns of texts as one-hot)"
    plain = write(tmp_path / "p.parquet", label=[0, 1], a=[1, 2])
    assert read_table([plain], None, "w")[3] == "1 feature"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, None], "y": [0, 1]}, "column 'a': row 1 has no value"),
        ({"a": ["p", ""], "y": [0, 1]}, "column 'a': row 1 has no value"),
        ({"a": [1.0, float("inf")], "y": [0, 1]}, "column 'a': row 1 holds no finite number (of 32 bits)"),
        ({"a": [1e300, 1.0], "y": [0, 1]}, "column 'a': row 0 holds no finite number (of 32 bits)"),
        ({"a": ["1", "nan"], "y": [0, 1]}, "column 'a': row 1 holds no finite number (of 32 bits)"),
        (
            {"a": ["1", "x" * 50, "3"], "y": [0, 1, 0]},
            f"column 'a': row 1: '{'x' * 40}' is no number, as most of the column are",
        ),
        ({"a": [[1], [2]], "y": [0, 1]}, "column 'a': list<element: int64> is neither numbers nor texts"),
        (
            {"a": [f"t{one}" for one in range(257)], "y": [0] * 257},
            "column 'a': holds 257 different texts, at most 256 become inputs: remove it",
        ),
        ({"y": [0, 1]}, "no column but the labels"),
        ({"a": [1, 2], "y": ["b", None]}, "'y': row 1 has no label"),
        ({"a": pa.array([], pa.int64()), "y": pa.array([], pa.int64())}, "holds no rows"),
        ({"a": [1], "b": [2]}, "data.label has to name the column; there are a, b"),
    ],
)
def test_tables_of_no_inputs_are_refused_with_row_and_column(
    columns: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as refused:
        read_table([write(tmp_path / "t.parquet", **columns)], None, "w")
    assert str(refused.value) == f"w: {message}"


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError(" one\ntwo"), "one"), (KeyError(), "KeyError"), (OSError("odd"), "odd")]
)
@pytest.mark.parametrize(("suffix", "reader"), [(".csv", "csv.read_csv"), (".parquet", "parquet.read_table")])
def test_a_reader_that_fails_is_said_in_one_line(
    suffix: str, reader: str, error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> Any:
        raise error

    monkeypatch.setattr(f"pyarrow.{reader}", fails)
    with pytest.raises(DataError) as refused:
        read_table([tmp_path / f"a{suffix}"], None, "w")
    assert str(refused.value) == f"{tmp_path / f'a{suffix}'}: cannot be read as a table: {said}"


@pytest.mark.parametrize(
    ("labels", "indices", "classes"),
    [([10, 9, 10], [1, 0, 1], ("9", "10")), (["10", "9", "10"], [0, 1, 0], ("10", "9"))],
)
def test_labels_of_a_table_are_sorted_as_what_they_are(
    labels: list[Any], indices: list[int], classes: tuple[str, ...], tmp_path: Path
) -> None:
    _, found, names, _, _ = read_table([write(tmp_path / "t.parquet", a=[1, 2, 3], y=labels)], None, "w")
    assert (found.tolist(), names) == (indices, classes)


def test_a_label_that_is_no_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read_table([write(tmp_path / "t.parquet", size=[1], kind=[2])], "kinds", "w")
    assert str(refused.value) == "w: data.label: no column 'kinds'; did you mean 'kind'?"


def test_texts_of_which_half_are_columns_are_texts_and_256_of_them_fit(tmp_path: Path) -> None:
    half = write(tmp_path / "h.parquet", a=["1", "x"], y=[0, 1])
    assert read_table([half], None, "w")[0].tolist() == [[1, 0], [0, 1]]
    many = write(tmp_path / "m.parquet", a=[f"t{one}" for one in range(256)], y=[0] * 256)
    assert read_table([many], None, "w")[0].shape == (256, 256)


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.parquet", a=[1], y=[0]), write(tmp_path / "b.parquet", a=["x"], y=[0])
    with pytest.raises(DataError) as refused:
        read_table([one, other], None, "w")
    assert str(refused.value).startswith("w: its files have different columns: ")
    assert "Field a " in str(refused.value)  # as Arrow says it
    twice = tmp_path / "c.csv"
    twice.write_text("a,b,b,b,y\n1,2,3,4,0\n")
    with pytest.raises(DataError, match=r"^w: column 'b' is there 3 times$"):
        read_table([twice], None, "w")
    (tmp_path / "d.parquet").write_bytes(b"no table")
    with pytest.raises(DataError) as refused:
        read_table([tmp_path / "d.parquet"], None, "w")
    assert str(refused.value).startswith(f"{tmp_path / 'd.parquet'}: cannot be read as a table: ")
    assert "\n" not in str(refused.value)
