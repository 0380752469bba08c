"""Lines on a terminal: wrapped, without padding, spelled with what the terminal has, never read as markup."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rectifier._formatting import printable

_PLAIN = {
    "‖": "|", "δ": "delta", "×": "x", "α": "a", "τ": "tau", "→": "->", "–": "-", "—": "-", "≤": "<=", "≥": ">=",
    "²": "2", "…": "...", "β": "beta", "−": "-", "√": "sqrt", "½": "1/2", "∂": "d", "Δ": "d", "’": "'", "‘": "'",
    "“": '"', "”": '"', "·": "*", "±": "+-", "σ": "sigma", "μ": "mu", "≈": "~",
}  # fmt: skip
_NARROWEST = 20


def say(console: Console, text: str, *, style: str = "", head: Text | None = None, indent: int = 0) -> None:
    """Print a paragraph.

    Args:
        console: Its width, colour and encoding are respected.
        text: One paragraph, taken literally.
        style: Of the text, as rich names it.
        head: Stands before the first line, in the room that `indent` leaves.
        indent: Columns left free before every line.
    """
    # No width: `print` would pad what it wraps itself, and whoever copies a path would copy the spaces.
    lines = Text(fit(text, console), style=style).wrap(console, max(console.width - indent, _NARROWEST))
    margin = Text(" " * indent)
    for number, line in enumerate(lines):
        line.rstrip()
        console.print(Text.assemble(head if head is not None and number == 0 else margin, line), soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table without the spaces that fill its last columns."""
    for segments in console.render_lines(table, pad=False):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()
        console.print(line, soft_wrap=True)


def takes(text: str, console: Console) -> bool:
    """Whether the console's encoding has every character of a text."""
    return has(console.encoding, text)


def has(encoding: str | None, text: str) -> bool:
    """Whether an encoding is known, and has every character of a text."""
    try:
        text.encode(encoding or "")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def fit(text: str, console: Console) -> str:
    r"""The text with the characters that the console's encoding has, and none that would command the terminal.

    Example:
        >>> fit("a name\x1b[2J with a command in it", Console())
        'a name\\x1b[2J with a command in it'
    """
    return spelled(text, console.encoding)


def spelled(text: str, encoding: str | None, keep: str = "") -> str:
    """The same for an encoding by its name; characters in `keep` stay all the same."""
    text = printable(text, keep)
    if has(encoding, text):
        return text
    plain = "".join(_PLAIN.get(character, character) for character in text)
    known = encoding if encoding is not None and has(encoding, "") else "ascii"
    return plain.encode(known, "replace").decode(known)
