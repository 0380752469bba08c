"""One step under the microscope: each operation, its numbers, its gradient, and the user's line that made it."""
