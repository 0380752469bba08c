"""`python -m rectifier` is `rectifier`."""

from rectifier.cli import main

main()
