"""What is recorded of every parameter."""
