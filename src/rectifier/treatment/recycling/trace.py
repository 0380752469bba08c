"""What happens to tensors in one forward, as torch's functions are called: which reads which, and which weights."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from rectifier.sandbox import tensors_in


@dataclass(slots=True, eq=False)
class Op:
    """One call of a function of torch's that made tensors.

    Attributes:
        name: `linear`, `conv2d`, `view`.
        versions: For each tensor argument, by identity, how often it had been overwritten before.
    """

    name: str
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]
    versions: dict[int, int]

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among its arguments."""
        return list(tensors_in((self.args, self.kwargs)))


class Recorder(TorchFunctionMode):
    """Records every call in its scope; everything that passed stays alive until the recorder goes.

    Warning:
        A custom `autograd.Function` and what a compiler or TorchScript runs are not seen.

    Args:
        copies: Numbers of calls whose tensor arguments are to be copied, because they get overwritten later.
    """

    def __init__(self, copies: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self._copies = copies

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        versions = {id(tensor): tensor._version for tensor in tensors_in((args, kwargs))}
        given = (args, kwargs)
        if len(self.ops) in self._copies:
            given = (tuple(a.clone() if isinstance(a, Tensor) and i == 0 else a for i, a in enumerate(args)), kwargs)
        result = func(*args, **kwargs)
        outputs = tuple(tensors_in(result))
        if outputs:
            name = getattr(func, "__name__", str(func))
            self.ops.append(Op(name, func, given[0], given[1], outputs, versions))
        return result
