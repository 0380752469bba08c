"""What is said of findings: one file a subject, one function a rule."""
