"""Log-likelihoods of given answers under masked diffusion models, estimated or exact, each with its standard error."""

from dlm.likelihood.answers import Answer, Piece, pieces_of
from dlm.likelihood.estimating import Estimate, combine, estimate
from dlm.likelihood.exact import bound_by_count, expected_bound, llada_bound
from dlm.likelihood.maskings import Design, Masking, design, llada_counts
from dlm.likelihood.rolling import windows
from dlm.likelihood.scoring import LikelihoodModel, Row, Scored, Scorer

__all__ = [
    "Answer",
    "Design",
    "Estimate",
    "LikelihoodModel",
    "Masking",
    "Piece",
    "Row",
    "Scored",
    "Scorer",
    "bound_by_count",
    "combine",
    "design",
    "estimate",
    "expected_bound",
    "llada_bound",
    "llada_counts",
    "pieces_of",
    "windows",
]
