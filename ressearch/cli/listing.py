"""The command `list`: what a study file may name, by kind, from the registries."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from ressearch import signals
from ressearch.cli.options import with_json, with_plugins
from ressearch.cli.output import console, make_table, print_json, say
from ressearch.errors import nearest


class Kind(NamedTuple):
    """A kind of thing that has a registry.

    Attributes:
        registry: its module and name.
        summary: one line on what it is.
        modules: what else has to be imported for the registry to be full.
    """

    registry: str
    summary: str
    modules: tuple[str, ...] = ()


KINDS = {
    "blocks": Kind("ressearch.networks.blocks:BLOCKS", "the residual branch F(x): space key `block`"),
    "skips": Kind("ressearch.networks.skips:SKIPS", "how x and F(x) meet: space key `skip`"),
    "shortcuts": Kind("ressearch.networks.shortcuts:SHORTCUTS", "how x matches a new shape: space key `shortcut`"),
    "stems": Kind("ressearch.networks.stems:STEMS", "the layers before the first stage: space key `stem`"),
    "presets": Kind("ressearch.networks.presets:PRESETS", "published networks, for `cost`, `show` and search.points"),
    "datasets": Kind("ressearch.data:DATASETS", "data sets and kinds of files: data.name"),
    "augmentations": Kind("ressearch.data:AUGMENTATIONS", "changes of training batches: recipe.augmentation"),
    "samplers": Kind("ressearch.search.samplers:SAMPLERS", "who proposes the next network: search.sampler"),
    "schedulers": Kind("ressearch.search.schedulers:SCHEDULERS", "who stops trials early: search.scheduler"),
    "plots": Kind("ressearch.reporting.figures:PLOTS", "figures of a report", ("ressearch.reporting.plots",)),
    "analyses": Kind(
        "ressearch.reporting.claims.claim:ANALYSES", "what a report claims", ("ressearch.reporting.claims",)
    ),
    "loggers": Kind("ressearch.search.loggers:LOGGERS", "other tools that watch a study: loggers"),
}
"""Every kind, with where its registry is; nothing of it is imported before it is asked for."""


class Row(NamedTuple):
    """One thing of a kind.

    Attributes:
        name: what a study file calls it.
        summary: one line on what it is.
        source: where it comes from.
    """

    name: str
    summary: str
    source: str


class _KindName(click.ParamType):  # type: ignore[type-arg]
    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in KINDS:
            self.fail(f"'{value}' is unknown; {nearest(value, KINDS)}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name, help=kind.summary) for name, kind in KINDS.items() if name.startswith(incomplete)]


@click.command("list")
@click.argument("kind", type=_KindName(), required=False)
@with_plugins
@with_json
def list_command(kind: str | None, as_json: bool) -> None:
    """List what a study may name: blocks, skips, samplers, ..."""
    if kind is None:
        if as_json:
            print_json([{"kind": name, "summary": kind.summary} for name, kind in KINDS.items()])
            return
        width = max(map(len, KINDS))
        for name, known in KINDS.items():
            say(f"{name:<{width}}  {known.summary}")
        return
    with signals.ending_at_once():  # imports take seconds
        rows = rows_of(kind)
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    table = make_table("name", "what it is", "from", wrapped=("what it is",))
    for row in rows:
        table.add_row(*row)
    console().print(table, markup=False)


def rows_of(kind: str) -> list[Row]:
    """Return everything of a kind, importing its registry."""
    place, _, modules = KINDS[kind]
    module, _, name = place.partition(":")
    for one in (module, *modules):
        importlib.import_module(one)
    registry = getattr(importlib.import_module(module), name)
    return [Row(entry.name, entry.summary, entry.source) for entry in registry.entries()]


__all__ = ["KINDS", "Kind", "Row", "list_command", "rows_of"]
