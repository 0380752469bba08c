"""Finding where activations are applied, and standing there: every interception lives here and can be taken away.

Nothing in this room keeps a number or changes a value; it tells others that something is happening, and where.
"""

from rectifier.sites.frames import Location as Location
from rectifier.sites.frames import locate as locate
from rectifier.sites.functions import Observer as Observer
from rectifier.sites.graph import between as between
from rectifier.sites.graph import unobserved_activations as unobserved_activations
from rectifier.sites.training import TrainingListener as TrainingListener
from rectifier.sites.units import FeedingLayer as FeedingLayer
from rectifier.sites.units import find_unit_axis as find_unit_axis
