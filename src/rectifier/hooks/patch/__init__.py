"""Functions and attributes of others', wrapped for a while."""
