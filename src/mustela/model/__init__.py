"""Models: the wrapped base, region encoders, composition, loading. Importing it registers the Auto classes."""

from transformers import AutoConfig, AutoModelForImageTextToText

from mustela.model.classic import ClassicConfig, ClassicForConditionalGeneration
from mustela.model.configuration import MustelaConfig
from mustela.model.families import FAMILIES, Family, ImageFeatures
from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.modeling import MustelaForConditionalGeneration, MustelaOutput
from mustela.model.region_encoders import GeoSampler, MeanEncoder

AutoConfig.register(ClassicConfig.model_type, ClassicConfig, exist_ok=True)
AutoConfig.register(MustelaConfig.model_type, MustelaConfig, exist_ok=True)
AutoModelForImageTextToText.register(ClassicConfig, ClassicForConditionalGeneration, exist_ok=True)
AutoModelForImageTextToText.register(MustelaConfig, MustelaForConditionalGeneration, exist_ok=True)

__all__ = [
    "FAMILIES",
    "ClassicConfig",
    "ClassicForConditionalGeneration",
    "Family",
    "FeatureGrids",
    "GeoSampler",
    "ImageFeatures",
    "MeanEncoder",
    "MustelaConfig",
    "MustelaForConditionalGeneration",
    "MustelaOutput",
    "sample_grids",
]
