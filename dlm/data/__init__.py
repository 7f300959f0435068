"""Preparing data: generated problems and mixtures of them, tokenizers, published test sets, and reading answers.

Importing this package loads the standard library only; heavier libraries are loaded by the functions that need them.
"""

from __future__ import annotations

from dlm.data.answers import answer_text, countdown_correct, final_number, sudoku_cells
from dlm.data.expression import Evaluation, ExpressionError, evaluate
from dlm.data.lazy import LazyRows
from dlm.data.mixtures import mixture_rows, problem_documents, question, solution
from dlm.data.nltk_data import NLTK_DATA
from dlm.data.prepare import load_joined, load_rows, prepare
from dlm.data.problems import Kind, Problem, generate, make_kind, side
from dlm.data.published import fetch_checkpoint
from dlm.data.repository import FILES
from dlm.data.testsets import fixed_documents
from dlm.data.tokenizer import train_tokenizer

__all__ = [
    "FILES",
    "NLTK_DATA",
    "Evaluation",
    "ExpressionError",
    "Kind",
    "LazyRows",
    "Problem",
    "answer_text",
    "countdown_correct",
    "evaluate",
    "fetch_checkpoint",
    "final_number",
    "fixed_documents",
    "generate",
    "load_joined",
    "load_rows",
    "make_kind",
    "mixture_rows",
    "prepare",
    "problem_documents",
    "question",
    "side",
    "solution",
    "sudoku_cells",
    "train_tokenizer",
]
