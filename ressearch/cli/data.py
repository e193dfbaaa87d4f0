"""Commands for data sets: list, info, fetch."""

from __future__ import annotations

from pathlib import Path

import click

from ressearch import signals
from ressearch.cli.options import with_json, with_plugins
from ressearch.cli.output import console, make_table, print_json, say
from ressearch.errors import nearest


@click.group("data")
def data_group() -> None:
    """List, describe and fetch data sets."""


@data_group.command("list")
@with_plugins
@with_json
def data_list(as_json: bool) -> None:
    """List the data sets, and which of them are here."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.data import DATASETS
        from ressearch.data.files import PUBLISHED, places

    rows = []
    for name, kind in DATASETS.items():
        files = PUBLISHED[name].files if name in PUBLISHED else {}
        is_here = not files or any((place / file).is_file() for place in places(name, None) for file in files)
        shown = name if kind.argument is None else f"{name}:{kind.argument}"
        rows.append({"name": shown, "is_here": is_here if kind.argument is None else None, "summary": kind.summary})
    if as_json:
        print_json(rows)
        return
    table = make_table("data set", "here", "what it is", wrapped=("what it is",))
    for row in rows:
        here = {True: "yes", False: "no", None: ""}[row["is_here"]]  # type: ignore[index]
        table.add_row(str(row["name"]), here, str(row["summary"]))
    console().print(table)


@data_group.command("info")
@click.argument("name")
@click.option("--root", help="Directory that holds a published data set's files.")
@click.option("--size", type=click.IntRange(1, 4096), help="Bring images to this side, as a study's data.size does.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="1 grey, 3 colour [as the first image].")
@click.option("--image", help="Column of the images [found].")
@click.option("--label", help="Column of the labels [found].")
@click.option(
    "--memory", type=click.Choice(["auto", "resident", "stream"]), default="auto", help="How images are held [auto]."
)
@click.option("--no-verify", is_flag=True, help="Read files that are not the published ones.")
@with_plugins
@with_json
def data_info(
    name: str,
    root: str | None,
    size: int | None,
    channels: str | None,
    image: str | None,
    label: str | None,
    memory: str,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Say what is in a data set: sizes, classes, the parts of a study."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.data import Options, describe

    options = Options(root, size, int(channels) if channels else None, image, label, not no_verify, memory)
    found = describe(name, options)
    if as_json:
        print_json(found)
        return
    say(f"{found['source']}")
    if found["decoded_per_second"] is not None:
        say(f"decoding   {found['decoded_per_second']:.0f} images a second here, shuffled")
    say(f"input      {'x'.join(map(str, found['input_shape']))}, {found['memory']}")
    counts = found["classes"].values()
    say(f"classes    {len(counts)}, from {min(counts)} to {max(counts)} examples each")
    whose = {part: "as published" if part in found["published_parts"] else "a fifth" for part in ("validation", "test")}
    said = ", ".join(f"{count} {part}" for part, count in found["parts"].items())
    say(f"parts      {said} (validation {whose['validation']}, test {whose['test']}; seed 0)")


@data_group.command("fetch")
@click.argument("name")
@click.option("--root", type=click.Path(path_type=Path), help="Directory to put it in.")
@click.option("--url", help="Another place that has the same files.")
def data_fetch(name: str, root: Path | None, url: str | None) -> None:
    """Download a published data set, checked against its checksums, or hub:OWNER/NAME into the hub's local cache."""
    with signals.ending_at_once():  # imports take seconds
        from ressearch.data import files, hub

    if name.startswith("hub:"):
        hub.fetch(name.removeprefix("hub:"), say)
        return
    if name not in files.PUBLISHED:
        raise click.UsageError(f"'{name}' is not one that can be fetched; {nearest(name, files.PUBLISHED)}")
    files.fetch(name, root, url, say)


__all__ = ["data_group"]
