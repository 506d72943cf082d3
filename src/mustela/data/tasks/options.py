"""Which conversations are made of a scene, and how long they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from mustela.errors import ConfigError

Task = Literal[
    "refer",
    "attributes",
    "relation",
    "ground",
    "detect",
    "presence",
    "caption",
    "dense_refer",
    "dense_detect",
]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
Order = Literal["raster", "size", "given"]


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What is asked, and how much.

    Args:
        tasks: which conversations to make of each picture.
        max_rounds: questions in a conversation at most.
        max_boxes: boxes in an answer at most; a question with more is not asked, as part of a list of all
            would be a lie.
        order: of the boxes in an answer: "raster" (rows of an eighth of the height, then from the left),
            "size" (the largest first) or "given".
        min_side: objects with a shorter side, in pixels, are not asked about by their region.
        balance: 0 asks about objects as often as they come, 1 about common names no more than about the
            median one; see `mustela.data.tasks.census.Census.keep_share`.
        absent_share: share of questions about names that aren't there, in "ground".
        seed: of all choices.
    """

    tasks: tuple[Task, ...] = ("refer", "ground")
    max_rounds: int = 6
    max_boxes: int = 20
    order: Order = "raster"
    min_side: float = 0.0
    balance: float = 0.0
    absent_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in TASKS:
                raise ConfigError(f"task is {task!r}. Choose of: {', '.join(TASKS)}.")
        if self.order not in get_args(Order):
            raise ConfigError(f"order is {self.order!r}. Choose one of: {', '.join(get_args(Order))}.")
        for name, value in (("max_rounds", self.max_rounds), ("max_boxes", self.max_boxes)):
            if value < 1:
                raise ConfigError(f"{name} is {value}. It is at least 1.")
        for name, share in (("balance", self.balance), ("absent_share", self.absent_share)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} is {share}. It is a share from 0 to 1.")
