"""Decoders: from the patch tokens of a few layers of an encoder to a logit per pixel and class."""
