"""Find the neurons that stopped learning, put them right, and prove that it helped.

The names below load on first use, so that `rectifier --help` never pays for torch (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rectifier import functional as functional
    from rectifier import nn as nn
    from rectifier import plot as plot
    from rectifier.api import Watch as Watch
    from rectifier.api import autopsy as autopsy
    from rectifier.api import census as census
    from rectifier.api import check as check
    from rectifier.api import compare as compare
    from rectifier.api import compare_models as compare_models
    from rectifier.api import describe as describe
    from rectifier.api import log as log
    from rectifier.api import prescribe as prescribe
    from rectifier.api import read as read
    from rectifier.api import recycle as recycle
    from rectifier.api import rescale as rescale
    from rectifier.api import swap as swap
    from rectifier.api import watch as watch

_HOMES = {
    "watch": "rectifier.api",
    "Watch": "rectifier.api",
    "swap": "rectifier.api",
    "recycle": "rectifier.api",
    "rescale": "rectifier.api",
    "prescribe": "rectifier.api",
    "autopsy": "rectifier.api",
    "log": "rectifier.api",
    "describe": "rectifier.api",
    "census": "rectifier.api",
    "check": "rectifier.api",
    "compare": "rectifier.api",
    "compare_models": "rectifier.api",
    "read": "rectifier.api",
}
_MODULES = ("nn", "functional", "plot")

__all__ = [
    "Watch", "__version__", "autopsy", "census", "check", "compare", "compare_models", "describe", "functional",
    "log", "nn", "plot", "prescribe", "read", "recycle", "rescale", "swap", "watch",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"rectifier.{name}")
    raise AttributeError(f"module 'rectifier' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
