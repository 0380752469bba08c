"""What autograd graphs tell: where units are, which weights feed them, what a loss leads to."""
