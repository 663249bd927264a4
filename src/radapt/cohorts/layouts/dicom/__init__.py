"""A tree of DICOM files as a cohort: headers, series, and keys in place of identities."""
