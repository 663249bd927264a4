"""Modalities by the names that hospitals give them: patterns of the user, and suggestions from headers."""
