"""The formats of ITK and 3D Slicer: MetaImage and NRRD, voxels behind a header of text or in a file beside it.

They are read here because libraries return other voxels without a word where a compressed MetaImage is damaged.
"""
