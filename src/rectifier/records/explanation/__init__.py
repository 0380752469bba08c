"""A cause established by experiment: what is changed, what was seen, how each trial ended, the verdict."""
