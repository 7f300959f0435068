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
from dlm.settings.decoding import ApproximateCache, EndOfText, FullCanvas, GrowingCanvas, Guidance, Proposer
from dlm.settings.evaluation import Difference, Table, TableRow, Task
from dlm.settings.likelihood import DreamMasks, LikelihoodSettings, LLaDAMasks, StratifiedMasks
from dlm.settings.model import (
    Architecture,
    CheckpointSettings,
    ConvertedCheckpoint,
    HubCheckpoint,
    Scratch,
    TrainedCheckpoint,
)
from dlm.settings.objective import BD3LM, MDLM, MLM, Autoregressive, cart_parameter
from dlm.settings.planning import DataSize, Network, PlanningSettings, TaskSize
from dlm.settings.presets import PRESETS, changed, preset, settable
from dlm.settings.recipe import LoRA, Muon, Recipe
from dlm.settings.sampler import ExecutionSettings, SamplerSettings
from dlm.settings.sandbox import SandboxSettings
from dlm.settings.selecting import (
    EvenSelector,
    FactorSelector,
    FloorSelector,
    OriginSelector,
    RemaskingSelector,
    ScheduleSelector,
    Selector,
    ThresholdSelector,
)

__all__ = [
    "BD3LM",
    "MDLM",
    "MLM",
    "PRESETS",
    "PROBLEMS",
    "ApproximateCache",
    "Architecture",
    "Autoregressive",
    "CheckpointSettings",
    "ConvertedCheckpoint",
    "Countdown",
    "DataSettings",
    "DataSize",
    "Difference",
    "DreamMasks",
    "EndOfText",
    "EvenSelector",
    "ExactLikelihood",
    "ExecutionSettings",
    "FactorSelector",
    "FixedTestSet",
    "FloorSelector",
    "FullCanvas",
    "GeneratedMixture",
    "GeneratedProblems",
    "GreedySettings",
    "GrowingCanvas",
    "Guidance",
    "HubCheckpoint",
    "HubDataset",
    "LLaDAMasks",
    "LikelihoodSettings",
    "LoRA",
    "Muon",
    "Network",
    "NumberChoice",
    "OriginSelector",
    "PlanningSettings",
    "ProblemSettings",
    "Proposer",
    "Recipe",
    "RemaskingSelector",
    "SamplerSettings",
    "SandboxSettings",
    "ScheduleSelector",
    "Scratch",
    "Selector",
    "StratifiedMasks",
    "Sudoku",
    "Table",
    "TableRow",
    "Task",
    "TaskSize",
    "ThresholdSelector",
    "TokenizerData",
    "TrainedCheckpoint",
    "WordProblems",
    "cart_parameter",
    "changed",
    "preset",
    "settable",
]
