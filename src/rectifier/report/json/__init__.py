"""Documents for programs, and their schema."""
