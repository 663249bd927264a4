"""A tree of DICOM files as a cohort: headers, series, and pseudonyms in place of identities."""
