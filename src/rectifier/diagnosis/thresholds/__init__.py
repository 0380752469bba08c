"""Every threshold of the diagnosis, each beside its source. Nothing else in the package decides good or bad."""

from rectifier.diagnosis.thresholds.checkpoint import *
from rectifier.diagnosis.thresholds.explain import *
from rectifier.diagnosis.thresholds.not_finite import *
from rectifier.diagnosis.thresholds.output import *
from rectifier.diagnosis.thresholds.parameters import *
from rectifier.diagnosis.thresholds.progress import *
from rectifier.diagnosis.thresholds.setup import *
from rectifier.diagnosis.thresholds.sides import *
from rectifier.diagnosis.thresholds.signal import *
from rectifier.diagnosis.thresholds.units import *
from rectifier.diagnosis.thresholds.updates import *
