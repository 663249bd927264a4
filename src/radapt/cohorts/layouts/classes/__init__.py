"""The layout `folders`: a folder of images per class, or per patient inside the class."""
