"""Synthetic patients with known ground truth: multi-sequence brain MRI of three glioma subtypes from two hospitals.

Anatomy consists of smooth shapes, tissue signals come from typical relaxation times and the signal equations of the
pulse sequences, and each scanner adds its bias field, gain, noise and storage order.
"""

from radapt.phantom.bids_writer import write_bids
from radapt.phantom.tumours import MASK_LABELS, SUBTYPES

__all__ = ["MASK_LABELS", "SUBTYPES", "write_bids"]
