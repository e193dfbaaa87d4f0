"""The `ressearch` command: a thin face over the Python API, one file per group of commands.

`command` holds the group and `main`; `lazy` imports a command's file when the command is used, so that help, completion
and `ressearch list` answer without torch, pandas or Ray. A command imports what it needs when it runs.
"""

from ressearch.cli.command import cli, main

__all__ = ["cli", "main"]
