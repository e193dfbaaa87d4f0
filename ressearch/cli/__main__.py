"""`python -m ressearch.cli` is `python -m ressearch`."""

from ressearch.__main__ import main

if __name__ == "__main__":
    main()
