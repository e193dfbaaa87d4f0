"""The `ressearch` command: `python -m ressearch`. Signals are looked after before the imports, which take seconds."""

from __future__ import annotations

from collections.abc import Sequence

from ressearch import signals


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the console script's entry point."""
    with signals.ending_at_once():
        signals.watch()
        from ressearch import cli

        cli.main(arguments)


if __name__ == "__main__":
    main()
