"""Taking over checkpoints of other programs, and handing over ours."""

from mustela.convert.card import CardFields
from mustela.convert.conversion import convert_ferret, convert_llava
from mustela.convert.export import export_model
from mustela.convert.report import Conversion
from mustela.convert.source import ConversionOptions

__all__ = ["CardFields", "Conversion", "ConversionOptions", "convert_ferret", "convert_llava", "export_model"]
