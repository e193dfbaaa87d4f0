"""Tables of results from elsewhere: how they are read, and how what is wrong in them is told."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pandas as pd
import pytest

import ressearch
from ressearch.cli import main
from ressearch.errors import StudyError
from ressearch.reporting import report
from ressearch.reporting.any_table import of_table, read


def test_a_column_is_taken_for_another_by_its_name() -> None:
    frame = pd.DataFrame({"top1": [70.0, 72.0], "layers": [18, 34]})
    evidence = of_table(frame, renamed={"top1": "val_accuracy", "layers": "depth"})
    assert [float(one[0]) for one in evidence.scores.values()] == [0.70, 0.72]
    assert evidence.notes == ("val_accuracy is given in per cent, up to 72; it is shown as a fraction.",)
    with pytest.raises(StudyError, match="has no column 'top' to take as val_accuracy; did you mean 'top1'"):
        of_table(frame, renamed={"top": "val_accuracy"})
    with pytest.raises(StudyError, match="cannot be taken as layers: there is a column layers already"):
        of_table(frame, renamed={"top1": "layers"})


def test_the_last_epoch_of_each_seed_counts() -> None:
    frame = pd.DataFrame(
        {"depth": [8] * 4, "seed": [0, 0, 1, 1], "epoch": [1, 2, 2, 1], "val_accuracy": [0.5, 0.8, 0.9, 0.4]}
    )
    (scores,) = of_table(frame).scores.values()
    assert sorted(scores) == [0.8, 0.9]


def test_names_of_networks_give_their_fields_and_costs() -> None:
    names = ["resnet20-cifar", "basic-d1.1.1-w8.16.32+skip=none"]
    evidence = of_table(pd.DataFrame({"name": names, "val_accuracy": [0.9, 0.8]}))
    for row, architecture in zip(
        evidence.networks.to_dict("records"),
        (ressearch.Architecture.preset("resnet20-cifar"), ressearch.Architecture.from_name(names[1])),
        strict=True,
    ):
        price = ressearch.cost(architecture, (3, 32, 32))
        assert (row["params"], row["macs"], row["depth"], row["skip"]) == (
            price.params,
            price.macs,
            architecture.depth,
            architecture.skip,
        )


def test_numbers_that_differ_between_seeds_are_measurements_and_tell_no_networks_apart() -> None:
    frame = pd.DataFrame(
        {
            "depth": [8, 8, 20, 20],
            "seed": [0, 1, 0, 1],
            "minutes": [1.5, 1.7, 2.5, 2.9],
            "val_accuracy": [0.8, 0.81, 0.9, 0.91],
        }
    )
    evidence = of_table(frame)
    assert len(evidence.networks) == 2
    assert evidence.axes == ("depth",)
    assert evidence.notes == ("Columns taken for measurements of single seeds, and left out: minutes.",)


def test_every_format_reads_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame({"depth": [8, 20], "skip": ["none", "identity"], "val_accuracy": [0.8, 0.9]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "t.parquet")
    for suffix in ("csv", "tsv", "parquet"):
        pd.testing.assert_frame_equal(read(tmp_path / f"t.{suffix}"), frame, check_dtype=False)


def test_the_command_writes_the_report_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text("model,depth,top1\n<script>a</script>,18,70\nb,34,73\n")
    arguments = ["report", str(tmp_path / "mine.csv"), "--map", "top1=val_accuracy", "--map", "model=name"]
    main([*arguments, "--question", "Which?"])
    page = (tmp_path / "mine-report" / "report.html").read_text()
    assert "<script>a</script>" not in page
    assert "Which?" in page
    with pytest.raises(SystemExit) as wrong:
        main([*arguments[:2], "--map", "top1"])
    assert wrong.value.code == 2
    assert "--map top1: expected COLUMN=NAME, such as top1=val_accuracy" in capsys.readouterr().err


def test_every_statement_of_a_page_stands_in_its_claims(tmp_path: Path) -> None:
    rows = [
        {"skip": skip, "depth": depth, "seed": seed, "val_accuracy": score + seed / 1000, "macs": depth * 1000}
        for skip, scores in {"none": (0.9, 0.5), "identity": (0.9, 0.88)}.items()
        for depth, score in zip((8, 56), scores, strict=True)
        for seed in range(3)
    ]
    page = report(pd.DataFrame(rows), out=tmp_path / "report", question="Does it?").read_text()
    said = {one["sentence"] for one in json.loads((tmp_path / "report" / "claims.json").read_text())}
    body = page[page.index("<body>") : page.index("<h2>How it was done")]
    body = re.sub(r"<svg.*?</svg>|<table.*?</table>|<figcaption.*?</figcaption>", "", body, flags=re.DOTALL)
    listed = re.findall(r"<li>(.*?)</li>", body) + re.findall(r"<p>(.*?)</p>", body)
    assert len(listed) > 8
    assert {html.unescape(one) for one in listed} <= said
    assert set(re.findall(r'data-n="(\d+)"', page)) == {"0", "1", "2", "3"}
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", page)
    assert not re.findall(r"url\((?!#)", page)
    for name in ("best", "depths"):
        assert r"\toprule" in (tmp_path / "report" / "tables" / f"{name}.tex").read_text()
