"""Rules about what comes through the network, forward and back."""
