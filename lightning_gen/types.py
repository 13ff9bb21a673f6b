"""Names for the ranges of constructor arguments.

A class's signature is its schema: the configuration is checked against these annotations without
importing the class, and the reader of the class sees the range where the argument is declared.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
HalfOpenFraction = Annotated[float, Ge(0), Lt(1)]
