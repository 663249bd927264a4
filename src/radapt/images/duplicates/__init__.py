"""Near-duplicate images: a small perceptual hash of each plane, a search among hashes, and a comparison of pixels."""
