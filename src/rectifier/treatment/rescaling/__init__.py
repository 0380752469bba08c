"""Initial weights whose scale fits the activations in place."""

from rectifier.treatment.rescaling.change import LayerGain as LayerGain
from rectifier.treatment.rescaling.change import Rescaled as Rescaled
from rectifier.treatment.rescaling.rescale import rescale as rescale
