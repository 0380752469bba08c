"""What is set up wrongly around a network: its loss, its data, its start, its steps."""
