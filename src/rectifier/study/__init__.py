"""Compare: draw seeds, start trainings, weigh differences.

`statistics` weighs, at the `looks` that a comparison plans, `weighing` says what a question still waits for, `ensemble`
trains many small networks at once, `driver` runs a user's own script once per arm and seed, here (`trial`) or on other
machines (`cluster`), `archive` keeps what was finished. Nothing is imported here, so that reading a study never loads
torch.
"""
