"""Names of image files: their endings, and the names without them."""

from pathlib import Path

RASTER = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".tif", ".tiff", ".bmp")
NIFTI = (".nii.gz", ".nii")
VOLUMES = (*NIFTI, ".mha", ".mhd", ".nrrd", ".nhdr")
DICOM = (".dcm", ".dicom", ".ima")
IMAGES = (*RASTER, *VOLUMES, *DICOM, ".npy")


def is_image(name: str, suffixes: tuple[str, ...] = IMAGES) -> bool:
    return name.lower().endswith(suffixes) and not name.startswith(".")


def stem(name: str) -> str:
    """A file name without its image suffix: `a.b.nii.gz` → `a.b`."""
    lower = name.lower()
    ending = next((suffix for suffix in IMAGES if lower.endswith(suffix)), None)
    return name[: -len(ending)] if ending else Path(name).stem


def stem_of(location: str) -> str:
    """The stem of the file in a location such as `a/b.nii.gz::channels[1]`."""
    return stem(Path(location.partition("::")[0]).name)
