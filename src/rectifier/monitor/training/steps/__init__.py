"""Which training step it is, and how closely it is observed."""
