"""Rules for a checkpoint alone."""
