"""Records: reading, checking, rendering. Light to import; what needs torch lies in its own modules."""

from mustela.data.message import Message, Slot
from mustela.data.native import write_records
from mustela.data.reading import read_checked, read_records
from mustela.data.record import ImageRef, Record, RegionAnnotation, Turn
from mustela.data.render import Rendered, RenderedRegion, RenderOptions, render, sample_rng

__all__ = [
    "ImageRef",
    "Message",
    "Record",
    "RegionAnnotation",
    "RenderOptions",
    "Rendered",
    "RenderedRegion",
    "Slot",
    "Turn",
    "read_checked",
    "read_records",
    "render",
    "sample_rng",
    "write_records",
]
