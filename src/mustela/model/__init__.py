"""Models: the wrapped base, region encoders, composition, loading.

Importing it registers configuration, model and processor with the Auto classes of transformers.
"""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from mustela.data.processor import MustelaProcessor
from mustela.model.adapter_loading import load_adapter
from mustela.model.adapter_set import AdapterSet
from mustela.model.classic import ClassicForConditionalGeneration
from mustela.model.classic_config import ClassicConfig
from mustela.model.configuration import MustelaConfig
from mustela.model.families import FAMILIES
from mustela.model.family import Family
from mustela.model.grids import FeatureGrids, sample_grids
from mustela.model.image_features import ImageFeatures
from mustela.model.loading import load_model, packaged_models, resolve_model_path
from mustela.model.merging import merge_adapter
from mustela.model.modeling import MustelaForConditionalGeneration, MustelaOutput
from mustela.model.quantisation import Quantisation
from mustela.model.region_encoders import GeoSampler, MeanEncoder

AutoConfig.register(ClassicConfig.model_type, ClassicConfig, exist_ok=True)
AutoConfig.register(MustelaConfig.model_type, MustelaConfig, exist_ok=True)
AutoModelForImageTextToText.register(ClassicConfig, ClassicForConditionalGeneration, exist_ok=True)
AutoModelForImageTextToText.register(MustelaConfig, MustelaForConditionalGeneration, exist_ok=True)
# Not a subclass of ProcessorMixin: it holds one, the base's.
AutoProcessor.register(MustelaConfig, MustelaProcessor, exist_ok=True)

__all__ = [
    "FAMILIES",
    "AdapterSet",
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
    "Quantisation",
    "load_adapter",
    "load_model",
    "merge_adapter",
    "packaged_models",
    "resolve_model_path",
    "sample_grids",
]
