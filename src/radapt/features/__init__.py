"""Features of a frozen backbone for every slice of a cohort, stored on disk and pooled per case."""

from radapt.features.export import provenance_of, write_embedding
from radapt.features.extract import LAYERS, extract
from radapt.features.features import Features, RowSegment
from radapt.features.lesions.features import LesionFeatures, check_lesion_masks
from radapt.features.patch_pca import patch_pca
from radapt.features.pooling import Design, Pooling, select

__all__ = [
    "LAYERS",
    "Design",
    "Features",
    "LesionFeatures",
    "Pooling",
    "RowSegment",
    "check_lesion_masks",
    "extract",
    "patch_pca",
    "provenance_of",
    "select",
    "write_embedding",
]
