"""Training: runs of one or several stages, in a folder that explains itself."""

from mustela.train.data import StageData, held_out_folder, held_out_records
from mustela.train.folder import RunFolder
from mustela.train.run import RunResult, run_stages, run_train
from mustela.train.stage import Examiner

__all__ = [
    "Examiner",
    "RunFolder",
    "RunResult",
    "StageData",
    "held_out_folder",
    "held_out_records",
    "run_stages",
    "run_train",
]
