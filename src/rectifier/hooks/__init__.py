"""Finding where activations are applied, and standing there: every interception lives here and can be taken away.

Nothing in this room keeps a number or changes a value; it tells others that something is happening, and where.
"""

from rectifier.hooks.autograd_graph import between as between
from rectifier.hooks.autograd_graph import unobserved_activations as unobserved_activations
from rectifier.hooks.calls.functions import Observer as Observer
from rectifier.hooks.location import Location as Location
from rectifier.hooks.location import locate as locate
from rectifier.hooks.training import TrainingListener as TrainingListener
from rectifier.hooks.unit_axis import FeedingLayer as FeedingLayer
from rectifier.hooks.unit_axis import find_unit_axis as find_unit_axis
