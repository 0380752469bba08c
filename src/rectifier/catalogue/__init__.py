"""What an activation is: one row per activation of `torch.nn`, and squared ReLU, without torch.

Sites, diagnosis, swaps, comparisons and the command line read this table; the equations themselves live in
`rectifier.activations`. An activation is written `name` or `name:parameter` wherever a user meets one.

Each name loads on first use: a process that calls no activation never needs the table.
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use

if TYPE_CHECKING:
    from rectifier.catalogue.activation import Activation as Activation
    from rectifier.catalogue.choice import Choice as Choice
    from rectifier.catalogue.choice import parse as parse
    from rectifier.catalogue.table import CATALOGUE as CATALOGUE

_NAMES = {"activation": "Activation", "choice": "Choice parse", "table": "CATALOGUE"}

__getattr__ = on_first_use(globals(), _NAMES)
