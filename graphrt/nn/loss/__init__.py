"""`graphrt.nn.loss`: loss functions as Cells."""

from .basic import CrossEntropyLoss, L1Loss, LossBase, MSELoss, SoftmaxCrossEntropyWithLogits
from .distance import (
    CosineEmbeddingLoss,
    CosineSimilarity,
    HingeEmbeddingLoss,
    HuberLoss,
    MAELoss,
    MarginRankingLoss,
    RMSELoss,
    SmoothL1Loss,
    TripletMarginLoss,
)
from .probability import BCELoss, BCEWithLogitsLoss, DiceLoss, KLDivLoss, NLLLoss, SoftMarginLoss

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CosineEmbeddingLoss", "CosineSimilarity", "CrossEntropyLoss", "DiceLoss",
    "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "LossBase", "MAELoss", "MSELoss", "MarginRankingLoss",
    "NLLLoss", "RMSELoss", "SmoothL1Loss", "SoftMarginLoss", "SoftmaxCrossEntropyWithLogits", "TripletMarginLoss",
]  # fmt: skip
