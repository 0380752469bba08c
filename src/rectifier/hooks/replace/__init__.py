"""Replacing calls of activations: where they are written, and what is computed instead."""
