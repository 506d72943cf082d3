"""The synthetic data set: pictures of coloured shapes, with questions about them, as real files."""

from mustela.data.shapes.scene import Scene, Thing, draw_scene
from mustela.data.shapes.world import World, load_world, world_names
from mustela.data.shapes.write import WrittenFile, WrittenSet, write_shapes

__all__ = [
    "Scene",
    "Thing",
    "World",
    "WrittenFile",
    "WrittenSet",
    "draw_scene",
    "load_world",
    "world_names",
    "write_shapes",
]
