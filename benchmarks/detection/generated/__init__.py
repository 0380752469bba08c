"""Random trainings, each with a fault of a dose or without one: what is found, what is said to be the cause, and who is
accused for nothing. Whether a training failed is decided by its own score against that of the same training, with the
same seed, without the fault."""
