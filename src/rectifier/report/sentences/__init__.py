"""The English of findings, reports and pages: one file a subject, one function a rule. Facts come in, texts go out."""
