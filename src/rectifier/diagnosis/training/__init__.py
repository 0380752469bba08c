"""Rules for a training that was watched."""
