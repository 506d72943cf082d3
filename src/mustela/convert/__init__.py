"""Taking over checkpoints of other programs, and handing over ours."""

from mustela.convert.conversion import ConversionOptions, convert_ferret, convert_llava
from mustela.convert.report import Conversion

__all__ = ["Conversion", "ConversionOptions", "convert_ferret", "convert_llava"]
