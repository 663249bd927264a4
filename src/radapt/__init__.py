"""radapt adapts vision foundation models to medical images and measures, honestly, how good they are."""

__version__ = "0.1.0"
