"""Rules about units: dead, saturated, always on, constant, starved."""
