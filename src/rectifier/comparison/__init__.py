"""Compare: draw seeds, start trainings, weigh differences.

`question` says what is asked and which trainings answer it, `engine` has them run, look after look, and `weighing`
judges them by `statistics`. Three ways to train are handed to the engine: `driver` runs a user's own script once per
arm and seed, here (`trial`) or on other machines (`cluster`), and `archive` keeps what was finished; `in_process` calls
a function; `models` trains small networks by `ensemble`, all seeds of an arm at once. Nothing is imported here, so that
reading a study never loads torch.
"""
