"""Finds where activations are applied, and intercepts them; each interception can be undone.

This package keeps no numbers and changes no values. It tells its listeners what happens, and where.
"""

from rectifier.hooks.calls.interception import Observer as Observer
from rectifier.hooks.graph.autograd_graph import between as between
from rectifier.hooks.graph.autograd_graph import feed_layers as feed_layers
from rectifier.hooks.graph.autograd_graph import unobserved_activations as unobserved_activations
from rectifier.hooks.graph.unit_axis import FeedingLayer as FeedingLayer
from rectifier.hooks.graph.unit_axis import find_unit_axis as find_unit_axis
from rectifier.hooks.graph.weights import nearest_parameter as nearest_parameter
from rectifier.hooks.graph.weights import weight_along as weight_along
from rectifier.hooks.location import Location as Location
from rectifier.hooks.location import locate as locate
from rectifier.hooks.training import TrainingListener as TrainingListener
