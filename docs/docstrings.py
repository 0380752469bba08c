"""For the API pages: our docstrings say `Example:`, where griffe knows `Examples:` only."""

import griffe


class Examples(griffe.Extension):
    """Shows an `Example:` as the code that it is."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section of one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
