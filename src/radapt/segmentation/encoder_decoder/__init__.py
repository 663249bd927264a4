"""`segment`: the patch tokens of an encoder, frozen or adapted, under a decoder."""
