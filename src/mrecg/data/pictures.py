"""Decoding picture files: only the formats of the listed endings, of a bounded size, and nothing is run."""

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mrecg.errors import DataError, out_of_memory
from mrecg.system.checked_read import NoFileError, open_regular

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""Pillow's names of what ``.jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp`` stand for. Its other readers
take no part: that of PostScript starts an interpreter."""
MOST_PIXELS = 89_478_485
"""Of a picture, and of what it is resized to: a quarter of a gigabyte in colour."""


def read_picture(path: Path) -> Image.Image:
    """Decode a file.

    Returns:
        The picture as it is stored.

    Raises:
        DataError: It is no picture, a damaged one, one of another format, or one of absurd size.
    """
    try:
        # What Pillow warns of is metadata, which is not used here, and size, which is checked below.
        with warnings.catch_warnings(), open_regular(path) as stream:
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=FORMATS) as picture:
                refuse_large(picture.size, str(path))
                picture.load()
                return picture
    except NoFileError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: is no image that can be read (none of the formats {', '.join(FORMATS)})"
        ) from error
    except Image.DecompressionBombError as error:  # found before the size can be asked for
        raise DataError(f"{path}: has more than {MOST_PIXELS:,} pixels ({error})") from error
    except DataError:
        raise
    except Exception as error:  # a damaged file stops a decoder anywhere
        if out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: is no image that can be read ({reason})") from error


def refuse_large(size: tuple[int, int], what: str) -> None:
    """Refuse pictures that would take gigabytes: a small file can say that it is large.

    Args:
        size: Width and height, pixels.
        what: The file and, if need be, what has been done to it, for the message.

    Raises:
        DataError: It has more than `MOST_PIXELS`.
    """
    width, height = size
    if width * height > MOST_PIXELS:
        raise DataError(f"{what}: has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,} in all")
