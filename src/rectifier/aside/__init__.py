"""Run: the one room that runs somebody's model outside of its training, and leaves everything as it was.

Each name loads on first use.
"""

from typing import TYPE_CHECKING

from rectifier.lazily import on_first_use

if TYPE_CHECKING:
    from rectifier.aside.batch import Arguments as Arguments
    from rectifier.aside.batch import Forward as Forward
    from rectifier.aside.batch import Pass as Pass
    from rectifier.aside.batch import describe as describe
    from rectifier.aside.batch import own_module as own_module
    from rectifier.aside.batch import tensors_in as tensors_in
    from rectifier.aside.belongings import CannotKeep as CannotKeep
    from rectifier.aside.repetition import repeat as repeat
    from rectifier.aside.repetition import why_not_repeated as why_not_repeated
    from rectifier.aside.streams import streams_kept as streams_kept
    from rectifier.aside.untouched import gradients_asked as gradients_asked
    from rectifier.aside.untouched import same as same
    from rectifier.aside.untouched import undisturbed as undisturbed

_NAMES = {
    "batch": (
        "Arguments",
        "Forward",
        "Pass",
        "describe",
        "own_module",
        "tensors_in",
    ),
    "belongings": ("CannotKeep",),
    "repetition": (
        "repeat",
        "why_not_repeated",
    ),
    "streams": ("streams_kept",),
    "untouched": (
        "gradients_asked",
        "same",
        "undisturbed",
    ),
}
_HOMES = {name: f"rectifier.aside.{module}" for module, names in _NAMES.items() for name in names}

__getattr__ = on_first_use(globals(), _HOMES)
