"""`unet`: a U-Net from scratch, planned by the rules of nnU-Net and trained on patches."""
