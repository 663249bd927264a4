"""The next patient: what a trained model says of new images, in the forms in which it is read."""
