"""What is said of an explanation: its cause, the experiments that show it, the remedy."""
