"""Training: one loop for every system, exact data order, checkpoints that survive a kill."""

from whenwhere.training.checkpoint import load_module
from whenwhere.training.config import FitConfig, TrainingError
from whenwhere.training.data import Batches, Dataset
from whenwhere.training.fit import FitResult, fit

__all__ = ["Batches", "Dataset", "FitConfig", "FitResult", "TrainingError", "fit", "load_module"]
