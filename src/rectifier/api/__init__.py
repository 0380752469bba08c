"""The public verbs for Python: each composes what the layers below offer. Nothing is loaded before it is used."""
