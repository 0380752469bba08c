"""Comparisons of small networks: all seeds of an arm as one batched ensemble, or one after the other."""
