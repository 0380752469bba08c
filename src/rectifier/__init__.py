"""Find the neurons that stopped learning, put them right, and prove that it helped.

The names below load on first use, so that `rectifier --help` never pays for torch (PEP 562).
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use
from rectifier._version import __version__ as __version__

if TYPE_CHECKING:
    from rectifier import functional as functional
    from rectifier import nn as nn
    from rectifier import plot as plot
    from rectifier.api import Watch as Watch
    from rectifier.api import census as census
    from rectifier.api import check as check
    from rectifier.api import compare as compare
    from rectifier.api import compare_models as compare_models
    from rectifier.api import describe as describe
    from rectifier.api import inspect_checkpoint as inspect_checkpoint
    from rectifier.api import log as log
    from rectifier.api import prescribe as prescribe
    from rectifier.api import read as read
    from rectifier.api import recycle as recycle
    from rectifier.api import rescale as rescale
    from rectifier.api import swap as swap
    from rectifier.api import watch as watch

_HOMES = dict.fromkeys(
    (
        "Watch", "census", "check", "compare", "compare_models", "describe", "inspect_checkpoint", "log", "prescribe",
        "read", "recycle", "rescale", "swap", "watch",
    ),
    "rectifier.api",
)  # fmt: skip

__all__ = [
    "Watch", "__version__", "census", "check", "compare", "compare_models", "describe", "functional",
    "inspect_checkpoint", "log", "nn", "plot", "prescribe", "read", "recycle", "rescale", "swap", "watch",
]  # fmt: skip


__getattr__ = on_first_use(globals(), _HOMES, modules=("nn", "functional", "plot"))


def __dir__() -> list[str]:
    return list(__all__)
