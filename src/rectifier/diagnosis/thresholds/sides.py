"""How long units must be starved, and how many saturated or on one side."""

STARVED_STEPS = 100
"""Training steps that a gradient of exactly 0 must last before a unit that fires is starved: losses cancel, heads begin
at zero and margins are satisfied for a while."""

STARVED_OBSERVATIONS = 20
"""Counted steps among them; the others were not looked at (our choice)."""

SATURATED_SAMPLES = 0.99
"""Share of the samples on which |f′(z)| is below 1% of its maximum (tanh |z| ≥ 3.0, sigmoid |z| ≥ 6.0)."""

SATURATED_SHARE = 0.50
"""Share of a layer's units above which it is called saturated."""

SATURATED_PAIR_SHARE = 0.80
SATURATED_PAIRS = 1_000
"""Share of (sample, unit) pairs that are saturated, above which a layer is, and how many pairs that must rest on
(definitions)."""

LINEAR_SHARE = 0.99
"""Share of a layer's units that are off on all samples, or on on all, from which on the layer is linear
(definitions)."""

LEAST_UNITS = 8
"""Units below which a layer is called linear only where all of them are (our choice: of 7 units one is 14%)."""
