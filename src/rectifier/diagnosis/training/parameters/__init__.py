"""Rules about parameters that are not trained."""
