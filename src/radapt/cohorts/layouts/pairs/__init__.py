"""The layout `pairs`: images with masks beside them, in one folder or in folders of images and of masks."""
