"""What an activation is: one row per activation of `torch.nn`, and squared ReLU, without torch.

Sites, diagnosis, swaps, studies and the command line read this table; the equations themselves live in
`rectifier.activations`. An activation is written `name` or `name:parameter` wherever a user meets one.
"""

from rectifier.catalogue.activation import Activation as Activation
from rectifier.catalogue.choice import Choice as Choice
from rectifier.catalogue.choice import parse as parse
from rectifier.catalogue.table import CATALOGUE as CATALOGUE
