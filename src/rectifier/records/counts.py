"""Numbers as facts hold them; a file with others was not written by any version."""

from typing import Annotated

from msgspec import Meta

LARGEST = 2**53
"""Up to here every whole number is one of float64, too."""

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
"""How many, which one, or a step."""

AtLeastOne = Annotated[int, Meta(ge=1, le=LARGEST)]

Step = Annotated[int, Meta(ge=-1, le=LARGEST)]
"""A step; -1 for before the first."""

NotNegative = Annotated[float, Meta(ge=0)]
"""A time, a norm or a mean square."""
