"""Trials: what one is asked for, how it is run, and what it showed."""
