"""The one folder that runs a user's model outside of its training, and leaves everything as it was.

Each name loads on first use.
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use

if TYPE_CHECKING:
    from rectifier.sandbox.batch import Arguments as Arguments
    from rectifier.sandbox.batch import Forward as Forward
    from rectifier.sandbox.batch import Pass as Pass
    from rectifier.sandbox.batch import describe as describe
    from rectifier.sandbox.batch import own_module as own_module
    from rectifier.sandbox.batch import tensors_in as tensors_in
    from rectifier.sandbox.belongings import CannotKeep as CannotKeep
    from rectifier.sandbox.repetition import repeat as repeat
    from rectifier.sandbox.repetition import why_not_repeated as why_not_repeated
    from rectifier.sandbox.streams import streams_kept as streams_kept
    from rectifier.sandbox.untouched import gradients_asked as gradients_asked
    from rectifier.sandbox.untouched import same as same
    from rectifier.sandbox.untouched import undisturbed as undisturbed

_NAMES = {
    "batch": "Arguments Forward Pass describe own_module tensors_in",
    "belongings": "CannotKeep",
    "repetition": "repeat why_not_repeated",
    "streams": "streams_kept",
    "untouched": "gradients_asked same undisturbed",
}

__getattr__ = on_first_use(globals(), _NAMES)
