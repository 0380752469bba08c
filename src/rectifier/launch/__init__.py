"""Starting the user's script exactly as `python` would, with a monitor inside once it imports torch."""

from rectifier.launch.parent import STOPPED as STOPPED
from rectifier.launch.parent import TIMED_OUT as TIMED_OUT
from rectifier.launch.parent import Launch as Launch
from rectifier.launch.parent import start as start
