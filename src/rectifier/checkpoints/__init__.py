"""Reading weights and optimizer state from an untrusted file: the only folder that opens one, and it runs nothing."""

from rectifier.checkpoints.reading import read_checkpoint as read_checkpoint
