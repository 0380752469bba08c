"""`python -m rectifier` is `rectifier`."""

from rectifier.cli import program

program()
