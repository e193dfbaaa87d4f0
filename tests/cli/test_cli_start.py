"""What the command answers without the libraries that train and search: help, completion, versions, kinds."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from ressearch.cli import cli
from ressearch.cli.command import COMMANDS

HEAVY = {
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "ray",
    "optuna",
    "pydantic",
    "scipy",
    "sklearn",
    "matplotlib",
    "seaborn",
    "rich",
}

SCRIPT = """
import json, sys
from ressearch.__main__ import main
try:
    main()
finally:
    print("\\n" + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def answer(*arguments: str, **variables: str) -> tuple[str, set[str]]:
    """Run the command in a process of its own; returns what it printed, and the packages that it imported."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **variables})
    return ran.stdout, set(json.loads(ran.stderr.splitlines()[-1]))


def words() -> list[tuple[str, ...]]:
    """Every command and subcommand."""
    data = cli.commands["data"]
    assert isinstance(data, click.Group)
    return [(), *((name,) for name in COMMANDS), *(("data", name) for name in data.commands)]


@pytest.mark.parametrize("word", words(), ids=" ".join)
def test_help_imports_nothing_heavy(word: tuple[str, ...]) -> None:
    said, imported = answer(*word, "--help")
    assert said.startswith(" ".join(("Usage: ressearch", *word)))
    assert imported & HEAVY == set()


@pytest.mark.parametrize("arguments", [("--version",), ("list",), ("list", "--json")], ids=" ".join)
def test_the_version_and_the_kinds_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    said, imported = answer(*arguments)
    assert said
    assert imported & HEAVY == set()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("re", {"report", "resume"}),
        ("run --re", {"--repeat"}),
        ("data f", {"fetch"}),
        ("list st", {"stems"}),
    ],
)
def test_completion_imports_nothing_heavy(typed: str, offered: set[str]) -> None:
    line = f"ressearch {typed}"
    said, imported = answer(_RESSEARCH_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1))
    assert {row.partition(",")[2] for row in said.splitlines()} == offered
    assert imported & HEAVY == set()


def test_a_command_that_needs_torch_imports_it() -> None:
    _, imported = answer("cost", "resnet20-cifar")
    assert "torch" in imported


@pytest.mark.parametrize("name", COMMANDS)
def test_the_stated_help_is_the_commands_own(name: str) -> None:
    assert COMMANDS[name].help == cli.commands[name].help
    assert cli.commands[name].name == name
