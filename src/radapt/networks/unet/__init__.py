"""The U-Net from scratch: planned from a fingerprint of the training images, then built."""
