"""Exchanging activations of a model."""
