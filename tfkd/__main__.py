"""Runs the command line as `python -m tfkd`."""

from tfkd.cli import main

main()
