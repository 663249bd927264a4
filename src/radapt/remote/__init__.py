"""Images behind addresses such as s3://bucket/a.nii.gz: what servers say of them, and their copies on this machine."""
