"""Regions of images: values, rasters, text, transforms and drawing, without torch."""

from mustela.regions.boxes import box_area, box_iou
from mustela.regions.draw import draw_regions
from mustela.regions.finder import find_regions
from mustela.regions.found import Found, FoundRegion, Rejected
from mustela.regions.frame import Frame
from mustela.regions.image import FirstFrameWarning, image_size, load_image
from mustela.regions.mask import Mask
from mustela.regions.reading import Scale
from mustela.regions.sampling import sample_points, sample_window
from mustela.regions.serial import found_to_json, region_from_json, region_to_json
from mustela.regions.styles import (
    COORDINATE_STYLES,
    CoordinateStyle,
    read_coordinates,
    scale_of,
    write_coordinates,
)
from mustela.regions.text import Clamp, dequantise, format_box, format_point, quantise
from mustela.regions.tiles import Tiled, Transform, choose_grid
from mustela.regions.transform import CenterCrop, Identity, Pad, Size, Stretch
from mustela.regions.types import Box, Point, Polygon, Region, Scribble

__all__ = [
    "COORDINATE_STYLES",
    "Box",
    "CenterCrop",
    "Clamp",
    "CoordinateStyle",
    "FirstFrameWarning",
    "Found",
    "FoundRegion",
    "Frame",
    "Identity",
    "Mask",
    "Pad",
    "Point",
    "Polygon",
    "Region",
    "Rejected",
    "Scale",
    "Scribble",
    "Size",
    "Stretch",
    "Tiled",
    "Transform",
    "box_area",
    "box_iou",
    "choose_grid",
    "dequantise",
    "draw_regions",
    "find_regions",
    "format_box",
    "format_point",
    "found_to_json",
    "image_size",
    "load_image",
    "quantise",
    "read_coordinates",
    "region_from_json",
    "region_to_json",
    "sample_points",
    "sample_window",
    "scale_of",
    "write_coordinates",
]
