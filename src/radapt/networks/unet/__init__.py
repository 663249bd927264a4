"""The U-Net from scratch: planned from the fingerprint of the training images, then built."""
