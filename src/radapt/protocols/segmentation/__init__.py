"""Segmentation: images and masks of a case on the same planes, and label maps judged in the patient's own grid."""

from radapt.protocols.segmentation.criterion import mean_dice
from radapt.protocols.segmentation.data import SegmentationData
from radapt.protocols.segmentation.judge import check_mask_tests, file_stems, judge_segmentation

__all__ = ["SegmentationData", "check_mask_tests", "file_stems", "judge_segmentation", "mean_dice"]
