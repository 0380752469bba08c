"""Rules about what a model gives."""
