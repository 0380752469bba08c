"""Starting the user's script exactly as `python` would, with a monitor inside once it imports torch."""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use

if TYPE_CHECKING:
    from rectifier.launch.parent import STOPPED as STOPPED
    from rectifier.launch.parent import Launch as Launch
    from rectifier.launch.parent import end_soon as end_soon
    from rectifier.launch.parent import start as start

# The script's own process needs none of them.
_NAMES = {"parent": "STOPPED Launch end_soon start"}

__getattr__ = on_first_use(globals(), _NAMES)
