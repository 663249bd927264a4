"""Segmentation: label maps by patient, judged in the patient's own grid."""

from radapt.protocols.segmentation.judge import check_mask_tests, judge_segmentation

__all__ = ["check_mask_tests", "judge_segmentation"]
