"""Activations as functions, drop-in for `torch.nn.functional`; `rectifier.activations.functional` defines them."""

from rectifier.activations.functional import *  # noqa: F403 - its __all__ is the list of these names
