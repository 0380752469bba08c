"""Rendering: records become text, pages, figures and JSON, for a reader's eye. Nothing is judged here."""
