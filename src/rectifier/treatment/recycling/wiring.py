"""What feeds a site and what reads it, followed through the calls of one forward.

Which entry of a tensor belongs to which unit is told by labels that go the same way, see `treatment.recycling.labels`.
Where a call is met that is not known to treat every unit by itself, the answer is a refusal with its reason.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from rectifier._formatting import listed
from rectifier.catalogue import CATALOGUE
from rectifier.errors import CannotRecycle
from rectifier.treatment.recycling.labels import features_of, names_for, pooled, reshaped, spread
from rectifier.treatment.recycling.laboratory import Laboratory, Watching
from rectifier.treatment.recycling.slots import Layer, Norm, Wiring
from rectifier.treatment.recycling.trace import Op, Recorder

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_LAYERS: dict[str, tuple[str, tuple[str, ...]]] = {"linear": ("linear", _CONVOLUTION[:3])}
_LAYERS |= {f"conv{n}d": ("conv", _CONVOLUTION) for n in (1, 2, 3)}
_LAYERS |= {f"conv_transpose{n}d": ("transposed", _TRANSPOSED) for n in (1, 2, 3)}
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")

_KEEPING = {"contiguous", "clone", "to", "type", "type_as", "float", "double", "half", "bfloat16", "dropout"}
_KEEPING |= {"dropout1d", "dropout2d", "dropout3d", "feature_dropout", "dropout_", "cpu", "cuda", "requires_grad_"}
_SHAPING = {
    "view", "reshape", "view_as", "reshape_as", "flatten", "unflatten", "permute", "transpose", "transpose_",
    "swapaxes",
    "swapdims", "t", "movedim", "moveaxis", "squeeze", "squeeze_", "unsqueeze", "unsqueeze_", "expand", "repeat",
    "__getitem__", "__get__", "select", "narrow", "chunk", "split", "tensor_split", "unbind", "cat", "concat",
    "concatenate", "stack", "hstack", "vstack", "pad", "roll", "flip", "mean", "amax", "interpolate", "upsample",
}  # fmt: skip
_SCALING = {"mul", "mul_", "div", "div_", "add", "add_", "sub", "sub_", "true_divide", "neg", "__rmul__", "__radd__"}
_SCALING |= {"__imul__", "__iadd__", "__isub__", "__itruediv__", "__mul__", "__add__", "__sub__", "__truediv__"}
_POOLING = ("max_pool", "avg_pool", "adaptive_max_pool", "adaptive_avg_pool", "lp_pool")
_NORMALISING = ("norm", "softmax", "normalize")
_ACTIVATIONS = {row.function or name for name, row in CATALOGUE.items()} - {"softmax", "prelu"}
_ACTIVATIONS |= {f"{name}_" for name in _ACTIVATIONS} | {"clamp", "clamp_", "clamp_min", "abs", "square", "sqrt", "exp"}

_BOUNDED = {"clamp", "clamp_", "clamp_min"}


def find_wiring(lab: Laboratory, label: str, key: tuple[str, int]) -> Wiring:
    """Follow the forward around one site.

    Raises:
        CannotRecycle: With the reason why it cannot be told which weights belong to which unit.
    """
    seen = Watching(key)
    trace = lab.trace(seen)
    if seen.input is None or seen.output is None:
        raise CannotRecycle(f"the batch did not pass through it; this forward has {_some(seen.calls)}")
    search = _Search(lab.model, trace, seen, label)
    wiring = search.result()
    if search.overwritten:
        # The layer's input is overwritten later in the forward: once more, with a copy.
        again = Watching(key)
        trace = lab.trace(again, frozenset({search.position}))
        wiring = _Search(lab.model, trace, again, label).result()
    return wiring


class _Search:
    """One forward, and the site in it."""

    def __init__(self, model: nn.Module, trace: Recorder, seen: Watching, label: str) -> None:
        assert seen.input is not None
        assert seen.output is not None
        assert seen.values is not None
        self._ops, self._label = trace.ops, label
        self._input, self._output, self._values = seen.input, seen.output, seen.values
        self._before, self._after, self._activation = seen.began, seen.ended, seen.activation
        self._noisy = False
        self.position = 0
        self.overwritten = False
        self._names: dict[int, str] = {}
        self._twice: dict[int, str] = {}
        places: dict[tuple[int, torch.Size], Tensor] = {}
        own = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        for name, tensor in own:
            if id(tensor) in self._names:
                self._twice[id(tensor)] = f"{self._names[id(tensor)]} and {name} are one parameter"
            self._names.setdefault(id(tensor), name)
            other = places.setdefault((tensor.data_ptr(), tensor.shape), tensor) if tensor.numel() else tensor
            if other is not tensor:
                for one in (tensor, other):
                    self._twice[id(one)] = f"{self._names[id(other)]} and {name} share their memory"
        uses: dict[int, int] = {}
        for op in self._ops:
            for tensor in {id(t): t for t in op.tensors if id(t) in self._names}.values():
                uses[id(tensor)] = uses.get(id(tensor), 0) + 1
                if uses[id(tensor)] > 1:
                    self._twice.setdefault(id(tensor), f"{self._names[id(tensor)]} is used more than once in a forward")

    def result(self) -> Wiring:
        """Everything around the site."""
        layer, way, norms = self._upwards()
        if len(norms) > 1:
            raise CannotRecycle("two batch normalisations in a row lie before it")
        names = names_for(layer.outputs, self._output.device)
        labels, axis = self._labels_at_site(layer, way, names)
        readers = self._downwards(labels, names)
        units = layer.outputs
        values = self._values.movedim(axis, -1).reshape(-1, units).float()
        return Wiring(
            label=self._label,
            axis=axis,
            units=units,
            activation=self._activation,
            layer=layer,
            norms=norms,
            readers=readers,
            noisy=self._noisy,
            fired=(values > 0).sum(0),
            amount=values.abs().mean(0),
            highest=values.abs().amax(0),
        )

    # Towards the input ------------------------------------------------------------------------------------------

    def _upwards(self) -> tuple[Layer, list[Op], list[Norm]]:
        """The layer that makes the site's input, and what lies between, from the layer on."""
        way: list[Op] = []
        norms: list[Norm] = []
        tensor, position, reader = self._input, self._before, self._before
        while True:
            made = self._maker(tensor, position)
            if made is None:
                raise CannotRecycle("no call was seen that makes its input (a custom autograd.Function?)")
            position, op = made
            self._read_elsewhere(tensor, position, reader)
            reader = position
            if op.name in _LAYERS:
                layer = self._layer(op)
                self.position, self.overwritten = position, layer.input._version != op.versions.get(id(layer.input), -1)
                return layer, way[::-1], norms
            if op.name == "batch_norm":
                norms.insert(0, self._norm(op))
            elif not (op.name in _KEEPING or (op.name in _SHAPING and op.name not in ("mean", "amax"))):
                raise CannotRecycle(_before_site(op))
            inside = [t for t in op.tensors if id(t) not in self._names and t.is_floating_point()]
            if len(inside) != 1:
                raise CannotRecycle(f"its input is put together from {len(inside)} tensors by torch's {op.name}")
            way.append(op)
            tensor = inside[0]

    def _maker(self, tensor: Tensor, before: int) -> tuple[int, Op] | None:
        """The last call before a position that put out this very tensor."""
        for position in range(before - 1, -1, -1):
            if any(output is tensor for output in self._ops[position].outputs):
                return position, self._ops[position]
        return None

    def _layer(self, op: Op) -> Layer:
        kind, names = _LAYERS[op.name]
        given = dict(zip(names, op.args, strict=False)) | op.kwargs
        weight, bias = given["weight"], given.get("bias")
        options = {n: v for n, v in given.items() if n not in ("input", "weight", "bias", "groups")}
        return Layer(
            kind=kind,
            function=op.function,
            input=given["input"],
            weight=weight,
            bias=bias,
            names=(self._own(weight, op, "weight"), "" if bias is None else self._own(bias, op, "bias")),
            groups=int(given.get("groups", 1)),
            options=options,
        )

    def _norm(self, op: Op) -> Norm:
        given = dict(zip(_NORM, op.args, strict=False)) | op.kwargs
        tensors = [given.get(name) for name in ("weight", "bias", "running_mean", "running_var")]
        names = ["" if tensor is None else self._own(tensor, op, "entry") for tensor in tensors]
        return Norm(
            names=(names[0], names[1], names[2], names[3]),
            weight=tensors[0],
            bias=tensors[1],
            mean=tensors[2],
            variance=tensors[3],
            eps=float(given.get("eps", 1e-5)),
        )

    def _own(self, tensor: Tensor, op: Op, what: str) -> str:
        """The name of a parameter or buffer of the model that nothing else uses."""
        name = self._names.get(id(tensor))
        if name is None:
            raise CannotRecycle(
                f"the {what} of a {op.name} is computed in the forward (parametrised, pruned, tied or quantised), and "
                "is no parameter of the model"
            )
        if id(tensor) in self._twice:
            raise CannotRecycle(f"{self._twice[id(tensor)]}: changing it for one place would change the other")
        if hasattr(tensor, "to_local"):
            raise CannotRecycle(f"{name} is sharded")
        return name

    def _labels_at_site(self, layer: Layer, way: list[Op], names: Tensor) -> tuple[Tensor, int]:
        """A label for each unit in the shape of the site's output, and the axis of the units."""
        made = next(t for t in way[0].tensors if id(t) not in self._names) if way else self._input
        axis = layer.feature_axis
        labels = spread(names, axis, made.shape)
        for op in way:
            if op.name in _SHAPING:
                labels = reshaped(op, {id(t): labels for t in op.tensors if t.is_floating_point()})[0]
        if labels.shape != self._output.shape:
            raise CannotRecycle("the shape of its output is not that of its input")
        axes = [a - labels.ndim for a in range(labels.ndim) if labels.shape[a] == layer.outputs]
        for candidate in sorted(axes, key=lambda a: a != axis):
            if torch.equal(labels, spread(names, candidate, labels.shape)):
                return labels, candidate
        raise CannotRecycle("a view between its layer and it spreads the units over several axes")

    def _read_elsewhere(self, tensor: Tensor, made: int, reader: int) -> None:
        """Refuse when something else reads a tensor that lies between the layer and the site."""
        last = reader if any(o is tensor for o in self._ops[reader].outputs) else len(self._ops)
        for position in range(made + 1, last):
            op, at_site = self._ops[position], self._before <= position < self._after
            if position != reader and not at_site and any(t is tensor for t in op.tensors):
                raise CannotRecycle(f"torch's {op.name} reads its pre-activation past the activation")

    # Towards the output -----------------------------------------------------------------------------------------

    def _downwards(self, labels: Tensor, names: Tensor) -> list[tuple[Layer, list[list[int]]]]:
        """Every layer that reads the site, with the features at which it reads each unit."""
        known: dict[int, Tensor] = {id(self._output): labels}
        readers: list[tuple[Layer, list[list[int]]]] = []
        for op in self._ops[self._after :]:
            reads = [t for t in op.tensors if id(t) in known]
            if not reads:
                for output in op.outputs:
                    known.pop(id(output), None)
                continue
            if op.name in _LAYERS:
                layer = self._layer(op)
                if layer.input is not reads[0] or len(reads) > 1:
                    raise CannotRecycle(f"{op.name} takes its weight from the units")
                readers.append((layer, features_of(known[id(layer.input)], names, layer)))
                continue
            for output, put_out in zip(op.outputs, self._through(op, known), strict=True):
                known[id(output)] = put_out
        if not readers:
            raise CannotRecycle("no layer was found that reads it")
        return readers

    def _through(self, op: Op, known: dict[int, Tensor]) -> list[Tensor]:
        """What becomes of the labels in a call that is no layer."""
        others = [t for t in op.tensors if id(t) not in known and t.is_floating_point() and t.ndim]
        labels = next(known[id(t)] for t in op.tensors if id(t) in known)
        name = op.name
        if name in _SHAPING:
            return reshaped(op, known)
        if name.startswith(_POOLING):
            return [pooled(labels, output) for output in op.outputs]
        if name in _KEEPING or name in _ACTIVATIONS or name in _SCALING:
            self._noisy |= "dropout" in name
            several = len([t for t in op.tensors if id(t) in known]) > 1
            if (name in _SCALING or name in _BOUNDED) and (others or several):
                raise CannotRecycle(_sum_or_product(name))
            return [labels] * len(op.outputs)
        if any(word in name for word in _NORMALISING):
            raise CannotRecycle(
                f"torch's {name} normalises after the activation: by statistics over all units, or by ones that a "
                "silent unit leaves undefined"
            )
        raise CannotRecycle(f"torch's {name} reads it, and what that does to a single unit is not known")


def _before_site(op: Op) -> str:
    if op.name in _SCALING:
        return _sum_or_product(op.name)
    if any(word in op.name for word in _NORMALISING):
        return f"torch's {op.name} before it normalises over units or positions: new weights of one may change others"
    if op.name in ("addmm", "mm", "matmul", "bmm", "baddbmm", "einsum", "__matmul__"):
        return f"it is fed by torch's {op.name}, whose rows and columns are not told apart; torch.nn.Linear's are"
    return f"torch's {op.name} feeds it, and which weights make a unit is not known"


def _sum_or_product(name: str) -> str:
    if "mul" in name or "div" in name:
        return "its units are multiplied with another tensor, so two of them no longer cancel"
    return "its units are terms of a sum with another tensor (a residual connection), past every weight"


def _some(keys: Iterable[tuple[str, int]]) -> str:
    named = [f"{path or 'its own forward'}{f' (call {call + 1})' if call else ''}" for path, call in keys]
    if not named:
        return "no activation call at all"
    return listed(named, 8)
