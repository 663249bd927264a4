"""Results as DICOM objects: segmentations (SEG) and structured reports (SR) in the study of their source images."""
