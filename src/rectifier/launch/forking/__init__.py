"""Trials that are forked from a process which has imported torch already, instead of started anew."""
