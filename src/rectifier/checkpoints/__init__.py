"""Reading weights and optimizer state from a stranger's file: the only room that opens one, and it runs nothing."""

from rectifier.checkpoints.reading import read_checkpoint as read_checkpoint
