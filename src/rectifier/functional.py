"""Activations as functions, drop-in for `torch.nn.functional`; `rectifier.activations.functional` defines them."""

from rectifier.activations.functional import *  # noqa: F403
