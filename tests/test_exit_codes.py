"""The table of exit codes in the documentation is the one in the code."""

import re
from pathlib import Path

from rectifier import exit_codes

RECIPES = Path(__file__).parents[1] / "docs" / "pages" / "recipes.md"


def test_every_exit_code_is_documented():
    numbers = {value for name, value in vars(exit_codes).items() if name.isupper()}
    rows = re.findall(r"^\| (\d+)(?: \+ n)? \|", RECIPES.read_text(), re.MULTILINE)
    assert {int(row) for row in rows} == numbers | {0}
