"""radapt hashes: perceptual hashes of pictures, to be given away in their place."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from radapt.locations import Location


def hashes(
    source: Path = typer.Argument(..., metavar="SOURCE", help="A folder of images, or a table with a column 'image'."),
    out: Path = typer.Option(..., help="The file to write (Parquet)."),
    cache: Path = typer.Option(None, help="Hashes that are kept; default $RADAPT_CACHE, else the user's cache folder."),
) -> None:
    """Write the perceptual hashes of every image of SOURCE, such as those that an encoder was trained on.

    The file holds numbers and hashes, no names and no pixels. `radapt check COHORT --pretraining FILE` searches it for
    the test patients of a cohort. Pictures are numbered from 0 in the order of the table, or of their paths. Files that
    are no images are left out and counted. Exit code 1: none of them is an image.
    """
    from radapt.cachedir import cache_folder
    from radapt.errors import DataError, RadaptError, counted
    from radapt.images import SliceCache
    from radapt.images.duplicates.hash_file import write_hashes
    from radapt.progress import progress

    pictures, slices, found = pictures_of(source), SliceCache(cache_folder(cache)), {}
    with progress(len(pictures), "Hashing", "pictures") as advance:
        for number, location in enumerate(pictures):
            with suppress(RadaptError):
                found[number] = slices.hashes(location)
            advance(1)
    if not found:
        raise DataError(f"{source} has no image that can be read, of {counted(len(pictures), 'file')}.")
    write_hashes(out, found)
    left_out = f"; {counted(len(pictures) - len(found), 'other file')} left out" if len(found) < len(pictures) else ""
    typer.echo(f"{counted(len(found), 'picture')} in {out}{left_out}")


def pictures_of(source: Path) -> "list[Location]":
    """Every visible file below a folder, by its path, or the column `image` of a table, with paths relative to it."""
    from radapt.cli.table_rows import read_rows, require_column
    from radapt.cohorts.layouts.image_files import walk
    from radapt.locations import Location

    if source.is_dir():
        return [Location(path) for path in walk(source)]
    rows, _ = read_rows(source, "a folder, or a table of pictures (CSV, TSV or parquet)")
    require_column(rows, "image", source)
    return [Location.parse(text, source.parent) for text in rows["image"].str.strip() if text]
