"""What trials say about arms: exact tests, intervals, power, interim analyses."""
