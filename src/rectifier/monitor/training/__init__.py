"""A training that is watched: when it is sampled, and where what was counted goes."""
