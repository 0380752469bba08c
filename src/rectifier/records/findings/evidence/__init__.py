"""What findings rest on, one record a rule."""
