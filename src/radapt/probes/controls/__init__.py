"""Controls: what can be predicted without the encoder, or without anything to learn, to compare every result with."""
