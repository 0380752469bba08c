"""Comparisons of a user's own script: one process for each arm and seed, here or on other machines."""
