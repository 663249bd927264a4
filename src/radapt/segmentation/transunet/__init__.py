"""`transunet`: TransUNet from scratch, slice by slice."""
