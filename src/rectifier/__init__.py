"""Find the neurons that stopped learning, explain why, fix them, and prove that it helped.

The names below load on first use, so that `rectifier --help` never pays for torch (PEP 562).
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use
from rectifier._version import __version__ as __version__

if TYPE_CHECKING:
    from rectifier import functional as functional
    from rectifier import nn as nn
    from rectifier import plot as plot
    from rectifier.api.checkpoint import inspect_checkpoint as inspect_checkpoint
    from rectifier.api.comparison import compare as compare
    from rectifier.api.comparison import compare_models as compare_models
    from rectifier.api.explanation import explain as explain
    from rectifier.api.probe import census as census
    from rectifier.api.probe import check as check
    from rectifier.api.training import Watch as Watch
    from rectifier.api.training import describe as describe
    from rectifier.api.training import read as read
    from rectifier.api.training import watch as watch
    from rectifier.api.treatments import prescribe as prescribe
    from rectifier.monitor import log as log
    from rectifier.treatment import recycle as recycle
    from rectifier.treatment import rescale as rescale
    from rectifier.treatment import swap as swap

_NAMES = {
    "api.checkpoint": "inspect_checkpoint",
    "api.comparison": "compare compare_models",
    "api.explanation": "explain",
    "api.probe": "census check",
    "api.training": "Watch describe read watch",
    "api.treatments": "prescribe",
    "monitor": "log",
    "treatment": "recycle rescale swap",
}

__all__ = [
    "Watch", "__version__", "census", "check", "compare", "compare_models", "describe", "explain",
    "functional", "inspect_checkpoint", "log", "nn", "plot", "prescribe", "read", "recycle", "rescale", "swap", "watch",
]  # fmt: skip


__getattr__ = on_first_use(globals(), _NAMES, modules=("nn", "functional", "plot"))


def __dir__() -> list[str]:
    return list(__all__)
