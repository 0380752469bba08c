"""Which entries of which parameter belong to one unit: the row that feeds it, the columns that read it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Index = tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Some entries of a parameter or buffer.

    Attributes:
        name: The tensor's name in the model.
        tensor: The parameter or buffer.
        index: What to put in square brackets.
    """

    name: str
    tensor: Tensor
    index: Index

    def read(self) -> Tensor:
        """A copy of the entries as they are."""
        return self.tensor.detach()[self.index].clone()

    def write(self, values: Tensor | float) -> None:
        """Put values there, past autograd."""
        with torch.no_grad():
            self.tensor[self.index] = values


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A linear layer, a convolution or a transposed convolution, as it was called.

    Attributes:
        kind: `linear`, `conv` or `transposed`.
        function: What computes it.
        input: What it was given.
        weight: (out, in) if linear, (out, in / groups, …) if conv, (in, out / groups, …) if transposed.
        bias: (out,), or None.
        names: Names of weight and bias in the model.
        groups: 1 unless it is a grouped convolution.
        options: The other arguments of the function, by name.
    """

    kind: str
    function: Any
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    names: tuple[str, str]
    groups: int
    options: dict[str, Any]

    @property
    def path(self) -> str:
        """The layer's path in the model."""
        return self.names[0].rpartition(".")[0] or self.names[0]

    @property
    def outputs(self) -> int:
        """Number of output units."""
        return int(self.weight.shape[1]) * self.groups if self.kind == "transposed" else int(self.weight.shape[0])

    @property
    def feature_axis(self) -> int:
        """The axis of the input, and of the output, that holds the features; counted from the end."""
        return -1 if self.kind == "linear" else -(self.weight.ndim - 1)

    def group_of_output(self, unit: int) -> int:
        """Which group of inputs a unit is computed from."""
        return unit // (self.outputs // self.groups)

    def group_of_input(self, feature: int) -> int:
        """Which group of outputs reads a feature."""
        return feature // self._inputs_per_group

    @property
    def _inputs_per_group(self) -> int:
        if self.kind == "transposed":
            return int(self.weight.shape[0]) // self.groups
        return int(self.weight.shape[1])

    def incoming(self, unit: int) -> Slot:
        """The weights that a unit is computed with."""
        if self.kind != "transposed":
            return Slot(self.names[0], self.weight, (unit,))
        per, group = int(self.weight.shape[1]), self.group_of_output(unit)
        inputs = slice(group * self._inputs_per_group, (group + 1) * self._inputs_per_group)
        return Slot(self.names[0], self.weight, (inputs, unit % per))

    def bias_of(self, unit: int) -> Slot | None:
        """The bias of a unit."""
        return None if self.bias is None else Slot(self.names[1], self.bias, (unit,))

    def outgoing(self, features: list[int]) -> list[Slot]:
        """The weights that input features are read with: one slot for all if linear, else one for each."""
        if not features:
            return []
        if self.kind == "linear":
            first, last = features[0], features[-1]
            together = features == list(range(first, last + 1))
            columns: Any = slice(first, last + 1) if together else features
            return [Slot(self.names[0], self.weight, (slice(None), columns))]
        if self.kind == "transposed":
            return [Slot(self.names[0], self.weight, (feature,)) for feature in features]
        slots, per = [], self.outputs // self.groups
        for feature in features:
            group = self.group_of_input(feature)
            rows = slice(group * per, (group + 1) * per)
            slots.append(Slot(self.names[0], self.weight, (rows, feature % self._inputs_per_group)))
        return slots

    def compute(self, rows: Tensor, group: int) -> Tensor:
        """What new rows, without a bias, make of the layer's input.

        Args:
            rows: (n, *shape of one row).
            group: The group that they are to be computed in.

        Returns:
            The layer's output with n features, brought to (samples and positions, n).
        """
        if self.kind == "linear":
            flat: Tensor = self.function(self.input, rows, None)
            return flat.reshape(-1, len(rows))
        axis, per = self.input.ndim + self.feature_axis, self._inputs_per_group
        part = self.input.narrow(axis, group * per, per)
        weight = rows.transpose(0, 1).contiguous() if self.kind == "transposed" else rows
        made: Tensor = self.function(part, weight, None, **self.options, groups=1)
        return made.movedim(self.feature_axis, -1).reshape(-1, len(rows))


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A batch normalisation between a layer and its activation; each entry is None where it has none.

    Attributes:
        names: Names of the four tensors in the model, in the order below.
        weight: (units,), the scale.
        bias: (units,), the shift.
        mean: (units,), the running mean.
        variance: (units,), the running variance.
        eps: What is added to the variance.
    """

    names: tuple[str, str, str, str]
    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    variance: Tensor | None
    eps: float

    def slots(self, unit: int) -> list[Slot]:
        """Its entries for one unit."""
        tensors = (self.weight, self.bias, self.mean, self.variance)
        return [Slot(n, t, (unit,)) for n, t in zip(self.names, tensors, strict=True) if t is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """Everything that makes the units of one site and everything that reads them.

    Attributes:
        label: The site, as findings name it.
        axis: The axis of the site's output that holds the units, counted from the end.
        units: How many there are.
        activation: Catalogue name of what is applied there.
        layer: What feeds the site; its output i is unit i.
        norms: Batch normalisations on the way, in order.
        readers: What reads the site, and for each unit its features there.
        noisy: Whether a dropout lies between the site and a reader.
        fired: (units,) on how many samples and positions of the batch each unit is above 0.
        amount: (units,) the mean of its absolute output.
        highest: (units,) the largest absolute output.
    """

    label: str
    axis: int
    units: int
    activation: str
    layer: Layer
    norms: list[Norm]
    readers: list[tuple[Layer, list[list[int]]]]
    noisy: bool
    fired: Tensor
    amount: Tensor
    highest: Tensor

    def incoming(self, unit: int) -> list[Slot]:
        """Weights, bias and normalisation that make a unit."""
        bias = self.layer.bias_of(unit)
        own = [self.layer.incoming(unit), *([] if bias is None else [bias])]
        return own + [slot for norm in self.norms for slot in norm.slots(unit)]

    def outgoing(self, unit: int) -> list[Slot]:
        """Weights that read a unit."""
        return [slot for layer, features in self.readers for slot in layer.outgoing(features[unit])]

    def company(self, unit: int) -> tuple[Any, ...]:
        """Units of the same company are computed from the same inputs, and added to the same sums."""
        read = tuple(
            (number, layer.group_of_input(feature), layer.weight.shape)
            for number, (layer, features) in enumerate(self.readers)
            for feature in features[unit]
        )
        return (self.layer.group_of_output(unit), read)
