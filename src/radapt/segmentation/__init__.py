"""Segmentation: images and masks of a case on the same planes; label maps are scored in the patient's own grid."""

from radapt.segmentation.criterion import mean_dice
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.scoring import SegmentationScorer, check_mask_tests, file_stems, score_segmentation

__all__ = [
    "SegmentationData",
    "SegmentationScorer",
    "check_mask_tests",
    "file_stems",
    "mean_dice",
    "score_segmentation",
]
