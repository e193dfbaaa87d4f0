"""Tables of results from elsewhere: what is refused, in which words, and what is read from the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ressearch.errors import StudyError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import cost
from ressearch.reporting import report
from ressearch.reporting.any_table import of_table, read

_MAP = "(--map COLUMN=val_accuracy names the column that holds it)"
_FRACTION = "expected a fraction from 0 to 1, or per cent"

REFUSED = {
    "": "is empty",
    "depth,val_accuracy\n": "has no rows",
    "depth,val_acc\n8,.5\n": f"has no column val_accuracy; did you mean 'val_acc'? {_MAP}",
    "depth,top1\n8,.5\n": f"has no column val_accuracy; known: depth, top1 {_MAP}",
    "depth,depth,val_accuracy\n8,8,.5\n": "column 'depth' stands twice",
    "depth,val_accuracy\n8,.5,1\n9,.6,1\n": "its rows have more fields than its header, which names 2",
    "depth,val_accuracy\n8,.5\n9,.6,1\n": "is no csv table: Expected 2 fields in line 3, saw 3",
    'depth,val_accuracy\n8,".5\n': "is no csv table: EOF inside string starting at row 1",
    "depth,val_accuracy\n8,.5\n9,bad\n": "val_accuracy: row 2 holds 'bad', expected a number",
    "depth,val_accuracy\n8,50%\n": "val_accuracy: row 1 holds '50%', expected a number",
    "depth,val_accuracy\n8,.5\n9,\n": "val_accuracy: row 2 is empty, expected a number",
    "depth,val_accuracy\n8,.5\n9,NaN\n": "val_accuracy: row 2 is empty, expected a number",
    "depth,val_accuracy\n8,inf\n": "val_accuracy: row 1 holds inf, expected a number",
    "depth,val_accuracy\n8,True\n": "val_accuracy: row 1 holds True, expected a number",
    "depth,val_accuracy\n8,.5\n9,101\n": f"val_accuracy: row 2 holds 101, {_FRACTION}",
    "depth,val_accuracy\n8,.5\n9,-.1\n": f"val_accuracy: row 2 holds -0.1, {_FRACTION}",
    "depth,val_accuracy\n8,70\n9,.5\n": "val_accuracy: row 2 holds 0.5 where others hold per cent, such as 70; "
    "expected fractions throughout, or per cent throughout",
    "depth,val_accuracy,train_accuracy\n8,.5,x\n": "train_accuracy: row 1 holds 'x', expected a number",
    "depth,val_accuracy\nx,.5\n": "depth: row 1 holds 'x', expected a number",
    "depth,val_accuracy\n8.5,.5\n": "depth: row 1 holds 8.5, expected a whole number",
    "depth,val_accuracy\n0,.5\n": "depth: row 1 holds 0, expected a number above 0",
    "depth,val_accuracy\n1e20,.5\n": "depth: row 1 holds 1e+20, expected at most 1e+09",
    "depth,val_accuracy\n8,.5\n,.5\n": "depth: row 2 is empty, expected a number",
    "depth,params,val_accuracy\n8,-3,.5\n": "params: row 1 holds -3, expected a number above 0",
    "depth,epoch,val_accuracy\n8,-1,.5\n": "epoch: row 1 holds -1, expected a number from 0",
    "name,val_accuracy\na,.5\n,.5\n": "name: row 2 is empty",
    'name,val_accuracy\na,.5\n" ",.5\n': "name: row 2 is empty",
    "depth,seed,val_accuracy\n8,0,.5\n8,,.5\n": "seed: row 2 is empty",
    "val_accuracy,seed\n.5,0\n": "no column tells its networks apart; expected name, depth, width, skip, … beside "
    "val_accuracy",
    "depth,seed,val_accuracy\n8,1,.5\n9,1,.5\n8,1,.6\n": "row 3: seed 1 of network 'depth 8' stands twice; expected "
    "one row for each network and seed (and epoch)",
    "depth,seed,epoch,val_accuracy\n8,0,1,.5\n8,0,1,.6\n": "row 2: epoch 1 of seed 0 of network 'depth 8' stands twice",
    "depth,epoch,val_accuracy\n8,1,.5\n8,1,.6\n": "row 2: epoch 1 of network 'depth 8' stands twice; a column seed "
    "tells its seeds apart",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items())
def test_a_table_that_cannot_be_read_is_refused_in_one_line_and_nothing_is_written(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(StudyError) as refusal:
        report(file)
    assert str(refusal.value).removeprefix(f"{tmp_path}/") == f"t.csv: {message}"
    assert refusal.value.lines == (str(refusal.value),)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {"renamed": {"top1": "val_accuracy"}},
            "has no column 'top1' to take as val_accuracy; known: depth, val_accuracy",
        ),
        ({"renamed": {"dept": "width"}}, "has no column 'dept' to take as width; did you mean 'depth'?"),
        (
            {"renamed": {"depth": "val_accuracy"}},
            "'depth' cannot be taken as val_accuracy: there is a column val_accuracy already",
        ),
        ({"examples": 0}, "examples is 0, expected a number above 0"),
        ({"chance": 1.5}, "chance is 1.5, expected a fraction from 0 to 1"),
        ({"chance": -0.5}, "chance is -0.5, expected a fraction from 0 to 1"),
    ],
)
def test_what_is_said_of_a_table_is_checked(told: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=rf"^{re.escape(f'x: {message}')}$"):
        of_table(pd.DataFrame({"depth": [8, 14], "val_accuracy": [0.5, 0.6]}), "x", **told)


@pytest.mark.parametrize("what", [[1, 2], None, {"a": 1}, pd.Series([1])])
def test_what_is_no_table_is_refused(what: Any, tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=rf"^the table: is a {type(what).__name__}, expected a study directory, a table's"
    ):
        report(what, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_data_frame_needs_a_place_for_its_report() -> None:
    with pytest.raises(StudyError, match=r"^report: `out` names a directory for the report of a table$"):
        report(pd.DataFrame())


def test_a_data_frame_without_columns_or_with_complex_numbers_is_refused() -> None:
    with pytest.raises(StudyError, match=re.escape(f"x: has no column val_accuracy; it has none at all {_MAP}")):
        of_table(pd.DataFrame(), "x")
    with pytest.raises(StudyError, match=r"^x: val_accuracy: row 1 holds 1j, expected a number$"):
        of_table(pd.DataFrame({"depth": [8], "val_accuracy": [1j]}), "x")


def test_files_that_hold_no_table_are_refused(tmp_path: Path) -> None:
    missing, latin, parquet = (tmp_path / name for name in ("missing.csv", "latin.csv", "x.parquet"))
    latin.write_bytes("depth,skip,val_accuracy\n8,é,.5\n".encode("latin-1"))
    parquet.write_bytes(b"no parquet")
    for file, message in ((missing, "no such file"), (latin, "is not UTF-8 text"), (parquet, "is no parquet table: ")):
        with pytest.raises(StudyError, match=rf"^{re.escape(f'{file}: {message}')}"):
            read(file)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(StudyError, match=r"d.csv: is a directory$"):
        read(tmp_path / "d.csv")
    with pytest.raises(StudyError, match=r"d.csv: holds no study \(no run.json\)$"):
        report(tmp_path / "d.csv")


def test_csv_tsv_and_parquet_say_the_same(tmp_path: Path) -> None:
    table = pd.DataFrame({"depth": [8, 14], "skip": ["none", "identity"], "val_accuracy": [0.5, 0.6]})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    table.to_parquet(tmp_path / "a.PARQUET")
    for name in ("a.csv", "a.tsv", "a.PARQUET"):
        pd.testing.assert_frame_equal(read(tmp_path / name), table, check_dtype=False)


def test_the_index_that_pandas_writes_is_no_column_of_a_network(tmp_path: Path) -> None:
    pd.DataFrame({"depth": [8, 8, 14], "val_accuracy": [0.5, 0.6, 0.7]}).to_csv(tmp_path / "a.csv")
    assert list(read(tmp_path / "a.csv")) == ["depth", "val_accuracy"]
    assert len(of_table(read(tmp_path / "a.csv")).networks) == 2


def test_a_named_index_of_a_data_frame_is_a_column() -> None:
    table = pd.DataFrame({"depth": [8, 14], "val_accuracy": [0.5, 0.6]}).set_index("depth")
    assert of_table(table).networks["name"].tolist() == ["depth 8", "depth 14"]


def test_networks_are_what_no_column_but_those_of_seeds_tells_apart() -> None:
    table = pd.DataFrame(
        {
            "skip": ["none", "none", "identity", "identity"],
            "depth": [8, 8, 8, 20],
            "lr": [0.1, 0.2, 0.1, 0.2],
            "val_loss": [1.0, 2.0, 3.0, 4.0],
            "val_accuracy": [0.5, 0.6, 0.7, 0.8],
        }
    )
    found = of_table(table)
    assert found.networks["name"].tolist() == [
        "skip none, depth 8",
        "skip identity, depth 8",
        "skip identity, depth 20",
    ]
    assert found.axes == ("skip", "depth")
    assert {network: scores.tolist() for network, scores in found.scores.items()} == {0: [0.5, 0.6], 1: [0.7], 2: [0.8]}
    assert found.replicates["seed"].tolist() == [0, 1, 0, 0]
    assert found.results is None
    assert found.notes == ()


def test_the_last_epoch_of_each_seed_counts_whatever_the_order_of_rows() -> None:
    rows = [(8, 0, 2, 0.5), (8, 0, 0, 0.1), (8, 1, 1, 0.2), (8, 1, 2, 0.6), (8, 0, 1, 0.9), (14, 0, 2, 0.7)]
    table = pd.DataFrame(rows, columns=["depth", "seed", "epoch", "val_accuracy"]).assign(loss=np.linspace(0.1, 0.9, 6))
    found = of_table(table)
    assert {network: sorted(scores) for network, scores in found.scores.items()} == {0: [0.5, 0.6], 1: [0.7]}
    assert found.notes == ("Columns taken for measurements of single seeds, and left out: loss.",)
    uneven = of_table(
        table.drop(columns="loss").query("depth == 8 or epoch == 2").replace({"epoch": {2: 3}}).iloc[[1, 5]]
    )
    assert uneven.notes == ("The last epoch of each seed counts; it is 0 of some and 3 of others.",)


def test_accuracies_in_per_cent_are_fractions_and_the_report_says_so() -> None:
    table = pd.DataFrame({"depth": [8, 14], "val_accuracy": [50, 75.5], "train_accuracy": [0.6, 1.0]})
    found = of_table(table)
    assert found.replicates["val_accuracy"].tolist() == [0.5, 0.755]
    assert found.replicates["train_accuracy"].tolist() == [0.6, 1.0]
    assert found.notes == ("val_accuracy is given in per cent, up to 75.5; it is shown as a fraction.",)


def test_a_column_of_measurements_is_no_choice_but_a_column_of_few_fractions_is() -> None:
    rows = [
        {"depth": depth, "weight_decay": decay, "seed": seed, "grad_norm": 0.1 + 0.013 * (depth + 40 * decay + seed)}
        for depth in (8, 14)
        for decay in (0.1, 0.01)
        for seed in (0, 1)
    ]
    found = of_table(pd.DataFrame(rows).assign(val_accuracy=0.5))
    assert found.axes == ("depth", "weight_decay")
    assert len(found.networks) == 4
    assert found.notes == ("Columns taken for measurements of single seeds, and left out: grad_norm.",)
    latency = pd.DataFrame({"depth": [8, 14, 20], "latency": [0.11, 0.17, 0.23], "val_accuracy": [0.5, 0.6, 0.7]})
    assert of_table(latency).axes == ("depth",)


def test_names_of_architectures_and_presets_bring_fields_and_costs() -> None:
    names = ["resnet20-cifar", "basic-d2.2.2-w16.32.64", "resnet20-cifar"]
    found = of_table(pd.DataFrame({"name": names, "val_accuracy": [0.9, 0.8, 0.91]}), input_shape=(1, 28, 28))
    told = cost(Architecture.preset("resnet20-cifar"), (1, 28, 28))
    assert found.networks["depth"].tolist() == [20, 14]
    assert found.networks["skip"].tolist() == ["identity", "identity"]
    assert found.rows[0]["params"] == told.params
    assert found.rows[0]["macs"] == told.macs
    assert found.rows[0]["activations"] == told.activations
    assert found.axes == ("depth",)
    assert len(found.scores[0]) == 2
    assert found.notes == ("Counted by the networks' names, for an input of 1x28x28: params, macs, activations.",)


def test_costs_that_the_table_gives_are_kept() -> None:
    table = pd.DataFrame(
        {"name": ["resnet20-cifar"], "params": [7], "macs": [8], "activations": [9], "val_accuracy": 0.5}
    )
    found = of_table(table)
    assert [found.rows[0][key] for key in ("params", "macs", "activations")] == [7, 8, 9]
    assert found.notes == ()


def test_names_of_which_one_is_nobodys_bring_nothing() -> None:
    found = of_table(pd.DataFrame({"name": ["resnet20-cifar", "mine"], "val_accuracy": [0.5, 0.6]}))
    assert list(found.networks) == ["network", "name"]


def test_costs_for_an_input_that_a_network_cannot_take_are_refused() -> None:
    table = pd.DataFrame({"name": ["resnet20-cifar"], "val_accuracy": [0.5]})
    with pytest.raises(
        StudyError, match=r"^x: costs cannot be counted: input shape \(784,\) is not \(channels, height"
    ):
        of_table(table, "x", input_shape=(784,))


def test_costs_that_are_known_of_some_networks_are_shown_of_those(tmp_path: Path) -> None:
    table = pd.DataFrame({"depth": [8, 14, 20], "params": [1000, np.nan, 3000], "val_accuracy": [0.5, 0.6, 0.7]})
    said = report(table.assign(macs=np.nan), out=tmp_path / "out").read_text("utf-8")
    assert "<td>1k</td><td>–</td><td>0.500</td>" in said
    assert "<td>–</td><td>–</td><td>0.600</td>" in said


def test_two_networks_of_one_name_are_told_apart_in_it() -> None:
    table = pd.DataFrame({"name": ["a", "a", "b"], "width": [16, 32, 32], "val_accuracy": [0.5, 0.6, 0.7]})
    assert of_table(table).networks["name"].tolist() == ["a, width 16", "a, width 32", "b"]


def test_costs_and_measures_are_in_names_only_where_nothing_else_tells_networks_apart() -> None:
    table = pd.DataFrame({"depth": [8, 14], "params": [10, 20], "latency": [0.11, 0.23], "val_accuracy": [0.5, 0.6]})
    assert of_table(table).networks["name"].tolist() == ["depth 8", "depth 14"]
    alike = of_table(table.assign(depth=8).drop(columns="latency"))
    assert alike.networks["name"].tolist() == ["params 10", "params 20"]


def test_a_column_network_names_them() -> None:
    table = pd.DataFrame({"network": [7, 9, 7], "val_accuracy": [0.5, 0.6, 0.7]})
    assert of_table(table).networks["name"].tolist() == ["7", "9"]
    both = of_table(table.assign(name="a"))
    assert both.networks["name"].tolist() == ["a, network given 7", "a, network given 9"]


def test_text_is_one_line_and_what_is_missing_is_said() -> None:
    skips = ["a\nb\x1b|\u202e c", None, "None", 3]
    found = of_table(pd.DataFrame({"skip": skips, "day": pd.Timestamp("2024-01-02"), "val_accuracy": 0.5}))
    assert found.networks["skip"].tolist() == ["a b | c", "not given", "none", "3"]
    assert found.networks["day"].tolist() == ["2024-01-02 00:00:00"] * 4


def test_none_in_a_file_is_the_plain_skip_style(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("skip,depth,val_accuracy\nNone,8,.5\nnone,14,.6\nNA,8,.7\n")
    assert of_table(read(tmp_path / "a.csv")).networks["skip"].tolist() == ["none", "none", "not given"]


def test_a_table_of_every_combination_is_a_grid_and_a_scattered_one_a_search() -> None:
    grid = pd.DataFrame([(depth, width, 0.5) for depth in (8, 14, 20) for width in (8, 16)])
    grid.columns = pd.Index(["depth", "width", "val_accuracy"])
    assert not of_table(grid).is_search
    scattered = pd.DataFrame({"depth": range(8, 14), "width": range(20, 26), "val_accuracy": 0.5})
    assert of_table(scattered).is_search


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_tables_of_other_types_say_the_same(backend: Any) -> None:
    table = pd.DataFrame({"depth": [8, 14], "skip": ["none", "identity"], "seed": [0, 0], "val_accuracy": [0.5, 0.6]})
    plain, other = of_table(table), of_table(table.convert_dtypes(dtype_backend=backend))
    pd.testing.assert_frame_equal(other.networks, plain.networks, check_dtype=False)
    assert other.axes == plain.axes
    assert {key: list(value) for key, value in other.scores.items()} == {0: [0.5], 1: [0.6]}


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_numbers_that_no_model_holds_are_refused(value: float) -> None:
    table = pd.DataFrame({"name": ["a", "b"], "rate": [0.5, value], "val_accuracy": [0.8, 0.9]})
    with pytest.raises(StudyError, match=r"^the table: rate: row 2 is .*, expected a finite number$"):
        of_table(table)
