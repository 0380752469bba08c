"""Intercepting calls of activations, and the compilers that meet them."""
