"""What `predict` is given: cohort files, folders of any layout, images and DICOM trees, as cases of one cohort."""
