"""One look at a model: a check before training, a census of a trained network."""
