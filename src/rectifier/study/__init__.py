"""Compare: draw seeds, start trainings, weigh differences.

`statistics` weighs, `ensemble` trains many small networks at once, `driver` runs a user's own script once per arm and
seed, here (`trial`) or on other machines (`cluster`), `archive` keeps what was finished. Nothing is imported here, so that reading a study never loads torch.
"""
