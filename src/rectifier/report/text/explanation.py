"""An explanation in the terminal."""

from rich.console import Console

from rectifier.records import Explanation
from rectifier.report.sentences.explanation import verdict
from rectifier.report.sentences.explanation.remedies import place_of
from rectifier.report.sentences.explanation.sights import sight_text, telling
from rectifier.report.text.lines import say

_MOST_SIGHTS = 2


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print the verdict, what shows it, what the microscope saw, and what to do.

    Args:
        explanation: As `rectifier explain` found it.
        console: Where to; its width, colour and encoding are respected.
    """
    say(console, verdict.headline(explanation), style="bold")
    for text in verdict.details(explanation):
        say(console, text, indent=2)
    for sight in telling(explanation)[:_MOST_SIGHTS]:
        say(console, f"{sight_text(sight)}.", indent=2)
    for note in explanation.notes:
        say(console, note, indent=2)
    if explanation.fixes:
        place = place_of(explanation)
        say(console, f"Do this: {explanation.fixes[0]}{f' ({place})' if place else ''}", style="bold")
