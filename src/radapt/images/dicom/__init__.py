"""DICOM: from the files of a series to one volume with its geometry."""
