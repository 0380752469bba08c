"""Dead units, revived: exactly, or as two papers do it."""

from rectifier.treatment.recycling.recycle import recycle as recycle
from rectifier.treatment.recycling.state import EXACT as EXACT
from rectifier.treatment.recycling.undo import Recycled as Recycled
