"""Compare: draw seeds, start trainings, weigh differences.

`question` says what is asked and which trials answer it. `engine` runs the trials up to each interim analysis,
and `weighing` judges them with `statistics`. There are three ways to run trials: `script` runs the user's script once
per arm and seed, here (`script.trial`) or on other machines (`script.cluster`), and `archive` keeps finished trials;
`function` calls a Python function; `models` trains small networks, all seeds of an arm at once. This module imports
nothing, so that reading a comparison never loads torch.
"""
