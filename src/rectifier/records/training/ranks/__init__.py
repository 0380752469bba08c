"""Ranks that trained one model, counted together."""
