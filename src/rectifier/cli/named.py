"""`package.module:factory`: objects of the user's, made in this process for commands that need no training."""

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from rectifier.errors import CannotProbe


def made_by(text: str, what: str) -> Any:
    """What a factory returns, or the object itself where it is none.

    The folder that the command was started in can be imported from, as under `python -m`. Nothing else is done to the
    user's code; it runs as it stands.

    Args:
        text: `package.module:name`; dots in the name reach into it.
        what: What it should be, for the error's text: `a model`.

    Raises:
        CannotProbe: There is no such module or name, or its code raised.
    """
    module_name, colon, path = text.partition(":")
    if not colon or not module_name or not path:
        raise CannotProbe(f"{text!r} does not name {what}: write package.module:name, for instance my_project:make.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise CannotProbe(f"there is no module {module_name} to import from {Path.cwd()}.") from None
        raise CannotProbe(told(f"importing {module_name} failed", error)) from error
    except Exception as error:
        raise CannotProbe(told(f"importing {module_name} failed", error)) from error
    try:
        found = pkgutil.resolve_name(text)
    except (AttributeError, ValueError) as error:
        # Where it ended; at the module for what is no name at all (ValueError).
        reached = getattr(error, "obj", module)
        own = vars(reached) if hasattr(reached, "__dict__") else {}
        names = [key for key, value in own.items() if key[0] != "_" and not isinstance(value, ModuleType)]
        shown = f" It has {', '.join(names[:12])}." if names else ""
        raise CannotProbe(f"{module_name} has no {path}.{shown}") from error
    if not _is_factory(found):
        return found
    try:
        return found()
    except Exception as error:
        raise CannotProbe(told(f"{text} failed", error)) from error


def _is_factory(thing: Any) -> bool:
    """A module of torch and a data loader are things, although the first can be called."""
    from torch import nn  # noqa: PLC0415 - `--help` never pays for torch

    return isinstance(thing, type) or (callable(thing) and not isinstance(thing, nn.Module))


def told(what: str, error: BaseException) -> str:
    """Say in one line what the user's own code raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    # The last line of the user's own: below it lie libraries.
    here = str(Path.cwd())
    own = next((frame for frame in reversed(frames) if frame.filename.startswith(here)), frames[-1] if frames else None)
    where = f" at {Path(own.filename).name}:{own.lineno}" if own is not None else ""
    return f"{what}{where}: {type(error).__name__}: {error}"
