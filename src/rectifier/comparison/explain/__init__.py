"""Why a script fails, by experiment: one thing is changed at a time, with the same seed, until the failure stays away.

`engine` decides over any runner of `trials`, by what `judgement` makes of them.
"""
