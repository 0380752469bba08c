"""The errors that a user can cause, each told in one screen: what happened, with which values, what to do next."""

from rectifier.exit_codes import MISUSE


class RectifierError(Exception):
    """Something the user can put right; the command line prints its text and never a traceback.

    Attributes:
        exit_code: What `rectifier` exits with when this reaches the command line (as for any misuse).
    """

    exit_code = MISUSE


class UnknownActivation(RectifierError):
    """An activation's name or parameter is not in the catalogue."""


class UnreadableRun(RectifierError):
    """A run folder or comparison file is missing, foreign, from a newer version, or damaged beyond its torn tail."""


class NothingToCompare(RectifierError):
    """A comparison lacks what it needs: a metric, seeds that differ, or an arm."""


class CannotKeep(RectifierError):
    """Results cannot be written: the disk is full, or another program locks the file. What has ended is kept."""


class CannotExplain(RectifierError):
    """A script cannot be explained as asked; the text says why and what to write instead."""


class CannotSwap(RectifierError):
    """A model's activations cannot be replaced as asked; the text names the line to write instead."""


class CannotWatch(RectifierError):
    """A model cannot be observed as asked; the text names the line to write instead."""


class CannotProbe(RectifierError):
    """A model cannot be run for a check or a census as asked; the text says on what, why, and what to write instead."""


class CannotSuppress(RectifierError):
    """A finding cannot be suppressed as asked; the text lists the names of findings."""


class CannotCompile(RectifierError):
    """PReLU's kernel cannot be compiled as asked; the text says why."""


class CannotRecycle(RectifierError):
    """Dead units cannot be revived as asked; the text names the layer, the reason and what to do instead."""


class CannotRescale(RectifierError):
    """Initial weights cannot be rescaled as asked; the text names the line to write instead."""


class CannotPrescribe(RectifierError):
    """Findings cannot be read, or a rung of a prescription lacks what it needs; the text says what to do instead."""


class UnreadableCheckpoint(RectifierError):
    """A checkpoint is missing, damaged, or cannot be opened without running code; the text says what to do."""


class NothingToPlot(RectifierError):
    """What a figure would show was not observed; the text says what was."""
