"""Evaluation: questions from records, answers from a model, scores, and a report to look at."""

from mustela.evaluate.compare import Change, compare, write_comparison
from mustela.evaluate.gallery import draw_prediction
from mustela.evaluate.metrics import score_predictions
from mustela.evaluate.predictions import Prediction, read_predictions, write_predictions
from mustela.evaluate.questions import Question, question_kind, questions_from
from mustela.evaluate.report import write_report
from mustela.evaluate.runner import evaluate
from mustela.evaluate.slices import SliceResult, evaluate_slice, pick_slice

__all__ = [
    "Change",
    "Prediction",
    "Question",
    "SliceResult",
    "compare",
    "draw_prediction",
    "evaluate",
    "evaluate_slice",
    "pick_slice",
    "question_kind",
    "questions_from",
    "read_predictions",
    "score_predictions",
    "write_comparison",
    "write_predictions",
    "write_report",
]
