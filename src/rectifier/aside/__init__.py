"""Run: the one room that runs somebody's model outside of its training, and leaves everything as it was."""

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
from rectifier.aside.undisturbed import gradients_asked as gradients_asked
from rectifier.aside.undisturbed import same as same
from rectifier.aside.undisturbed import undisturbed as undisturbed
