"""A click group whose commands are imported when they are used: its help and completion read what is stated of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem


class Stated(NamedTuple):
    """What is known of a command before it is imported.

    Attributes:
        place: module and name of the command, such as ``ressearch.cli.studies:run``.
        help: its help, as the command itself has it; a test holds that they are equal.
    """

    place: str
    help: str


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name: asking which there are imports none, asking for one imports its module."""

    def __init__(self, stated: Mapping[str, Stated]) -> None:
        self.stated = dict(stated)
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._imported:
            module, _, attribute = self.stated[name].place.partition(":")
            self._imported[name] = getattr(importlib.import_module(module), attribute)
        return self._imported[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._imported[name] = command
        self.stated.setdefault(name, Stated("", command.help or ""))

    def __delitem__(self, name: str) -> None:
        del self.stated[name]
        self._imported.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self.stated

    def __iter__(self) -> Iterator[str]:
        return iter(self.stated)

    def __len__(self) -> int:
        return len(self.stated)

    def short_help(self, name: str, width: int = 45) -> str:
        """Return a command's help in at most `width` characters, without importing it."""
        return click.Command(name, help=self.stated[name].help).get_short_help_str(width)


class LazyGroup(click.Group):
    """A group of `LazyCommands`."""

    commands: LazyCommands

    def __init__(self, name: str | None = None, *, stated: Mapping[str, Stated], **options: Any) -> None:
        super().__init__(name, LazyCommands(stated), **options)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands into the group's help, importing none."""
        names = self.list_commands(ctx)
        width = formatter.width - 6 - max(map(len, names))
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands.short_help(name, width)) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin so, importing none."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=self.commands.short_help(name)) for name in names), *options]


__all__ = ["LazyCommands", "LazyGroup", "Stated"]
