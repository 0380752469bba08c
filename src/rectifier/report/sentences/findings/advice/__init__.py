"""What to do about a finding: one file a subject, the mildest change first, and what to expect from it.

Each advice is a tuple of sentences, so that a report prints a sentence that several share only once.
"""

from rectifier.report.sentences.fixes import COMPARE, EXPLAIN, Naming, Text

Advice = tuple[Text, ...]

UNKNOWN_CAUSE: Advice = (
    Naming(
        "Run `{}`: it changes one thing at a time and says which change removes the failure. "
        "Compare over seeds (`{}`) before you trust a remedy.",
        (EXPLAIN, COMPARE),
    ),
)

FIRST_FOR_UPDATE: Advice = ("First halve the learning rate, or warm it up: the weights moved too far at once.",)

UNTOUCHED: Advice = ("Nothing to do if this is intended.",)

LOST_OVER_CALLS: Advice = (
    "Read the answer nearer to the inputs that matter (at the last position without padding), shorten the sequences, "
    "or use a gated layer such as torch.nn.LSTM.",
)

EARLIER_CHECKPOINT: Advice = (
    "Resume from an earlier checkpoint under `rectifier run`: it shows where NaN or infinity appears first.",
)

EXPLAINED: Advice = ("Fix that finding first.",)
