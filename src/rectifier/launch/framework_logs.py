"""The numbers that a script gives to its framework's log, for a comparison that is asked for one of them.

Lightning, Hugging Face's Trainer and TensorBoard's writer each have one method that every logged number passes. It is
wrapped when the script has imported it; nothing of theirs is imported by us, and the call goes on as it came.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from rectifier.monitor import log

AfterImport = Callable[[str, Callable[[ModuleType], None]], None]
"""Calls a function with a module right after the script has imported it."""

_Numbers = Callable[..., Mapping[str, Any]]
"""From a method's arguments (without `self`) to what they log."""


def hear_frameworks(after_import: AfterImport) -> None:
    """Keep from now on what these frameworks are given to log, under the names that it has there.

    Only numbers are kept. A number that a framework passes on to another under the same name (Lightning to
    TensorBoard) is kept once.
    """
    for module, (owner, methods) in _LOGS.items():
        after_import(module, functools.partial(_wrap, owner=owner, methods=methods))


def _metrics(metrics: Mapping[str, Any], *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    return metrics


def _logs(logs: Mapping[str, Any], *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    return logs


def _scalar(tag: str, scalar_value: Any, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    return {tag: scalar_value}


def _scalars(main_tag: str, tag_scalar_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    return {f"{main_tag}/{tag}": value for tag, value in tag_scalar_dict.items()}


# Reached with and without a logger, after the means over an epoch were taken.
_LIGHTNING = ("_LoggerConnector", {"log_metrics": _metrics})
_LOGS: dict[str, tuple[str, dict[str, _Numbers]]] = {
    "lightning.pytorch.trainer.connectors.logger_connector.logger_connector": _LIGHTNING,
    "pytorch_lightning.trainer.connectors.logger_connector.logger_connector": _LIGHTNING,
    "transformers.trainer": ("Trainer", {"log": _logs}),
    "torch.utils.tensorboard.writer": ("SummaryWriter", {"add_scalar": _scalar, "add_scalars": _scalars}),
}


def _wrap(module: ModuleType, owner: str, methods: Mapping[str, _Numbers]) -> None:
    logger = getattr(module, owner, None)
    for method, numbers in methods.items():
        original = vars(logger).get(method) if isinstance(logger, type) else None
        # A version without it logs by ways that we do not know, and must not be hindered.
        if isinstance(original, FunctionType):
            setattr(logger, method, _heard(original, numbers))


def _heard(original: Callable[..., Any], numbers: _Numbers) -> Callable[..., Any]:
    @functools.wraps(original)
    def heard(self: Any, *args: Any, **kwargs: Any) -> Any:
        given: Mapping[str, Any] = {}
        # Whatever is wrong with the arguments, the method itself shall say so.
        with contextlib.suppress(Exception):
            given = dict(numbers(*args, **kwargs))
        with _within(given) as new:
            for name in new:
                _keep(name, given[name])
            return original(self, *args, **kwargs)

    return heard


def _keep(name: str, value: Any) -> None:
    if isinstance(value, str):
        return
    with contextlib.suppress(Exception):
        # float() of a tensor that requires a gradient warns, and so does float() of an array with one element.
        log(name, float(value.item() if hasattr(value, "item") else value))


class _Names(threading.local):
    """Of the numbers that are being logged in this thread, by the outer one of two frameworks."""

    now: frozenset[str] = frozenset()


_names = _Names()


@contextlib.contextmanager
def _within(given: Mapping[str, Any]) -> Iterator[list[str]]:
    before = _names.now
    new = [name for name in given if name not in before]
    _names.now = before | given.keys()
    try:
        yield new
    finally:
        _names.now = before
