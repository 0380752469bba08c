"""Models and sites that were met, and what is counted at each."""
