"""Activations as modules, drop-in for `torch.nn`; `rectifier.activations.nn` defines them."""

from rectifier.activations.nn import *  # noqa: F403 - its __all__ is the list of these names
