"""The one folder that alters the user's model or optimizer, and can take it back."""

from rectifier.treatment.change import Change as Change
from rectifier.treatment.ladder import prescribe as prescribe
from rectifier.treatment.learning_rate import scale_learning_rates as scale_learning_rates
from rectifier.treatment.prescription import Prescription as Prescription
from rectifier.treatment.recycling import Recycled as Recycled
from rectifier.treatment.recycling import recycle as recycle
from rectifier.treatment.rescaling import Rescaled as Rescaled
from rectifier.treatment.rescaling import rescale as rescale
from rectifier.treatment.swapping.everywhere import swap_everywhere as swap_everywhere
from rectifier.treatment.swapping.swap import swap as swap
