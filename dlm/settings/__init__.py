"""What can be chosen: frozen dataclasses that check themselves. Standard library only."""

from dlm.settings.autoregressive import ExactLikelihood, GreedySettings
from dlm.settings.data import (
    PROBLEMS,
    Countdown,
    DataSettings,
    FixedTestSet,
    GeneratedMixture,
    GeneratedProblems,
    HubDataset,
    NumberChoice,
    ProblemSettings,
    Sudoku,
    TokenizerData,
    WordProblems,
)
from dlm.settings.decoding import (
    EndOfText,
    EvenSelector,
    FullCanvas,
    GrowingCanvas,
    Guidance,
    Proposer,
    ScheduleSelector,
)
from dlm.settings.evaluation import Difference, Table, TableRow, Task
from dlm.settings.model import (
    Architecture,
    CheckpointSettings,
    ConvertedCheckpoint,
    HubCheckpoint,
    Scratch,
    TrainedCheckpoint,
)
from dlm.settings.objective import BD3LM, MDLM, MLM, Autoregressive, cart_parameter
from dlm.settings.recipe import LoRA, Muon, Recipe
from dlm.settings.sampler import ExecutionSettings, LikelihoodSettings, SamplerSettings

__all__ = [
    "BD3LM",
    "MDLM",
    "MLM",
    "PROBLEMS",
    "Architecture",
    "Autoregressive",
    "CheckpointSettings",
    "ConvertedCheckpoint",
    "Countdown",
    "DataSettings",
    "Difference",
    "EndOfText",
    "EvenSelector",
    "ExactLikelihood",
    "ExecutionSettings",
    "FixedTestSet",
    "FullCanvas",
    "GeneratedMixture",
    "GeneratedProblems",
    "GreedySettings",
    "GrowingCanvas",
    "Guidance",
    "HubCheckpoint",
    "HubDataset",
    "LikelihoodSettings",
    "LoRA",
    "Muon",
    "NumberChoice",
    "ProblemSettings",
    "Proposer",
    "Recipe",
    "SamplerSettings",
    "ScheduleSelector",
    "Scratch",
    "Sudoku",
    "Table",
    "TableRow",
    "Task",
    "TokenizerData",
    "TrainedCheckpoint",
    "WordProblems",
    "cart_parameter",
]
