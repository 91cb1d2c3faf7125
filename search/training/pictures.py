"""Picture files as 8-bit grey or colour, converted by what their format means.

What has no certain meaning in 8 bits is refused with the file's name: docs/data-and-training.md
lists the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from autonba.archives import open_regular, reason, shown
from autonba.errors import DataError

FORMATS = (  # decoded by Pillow itself, without other programs; the first that fits reads the file
    *("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "QOI"),
    *("PCX", "SGI", "TGA"),
)
MOST_PIXELS = 64 << 20  # of one picture
_GREY = ("1", "L", "LA", "La", "I", "F")  # and I;16 in every order of bytes
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339  # tags of TIFF and EXIF
_WHITE_IS_ZERO = 0
_TURNS = {  # what sets a picture upright, by its EXIF orientation
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the beginning of a picture file tells; sizes before it is set upright."""

    colour: bool
    width: int
    height: int


class _BadPictureError(Exception):
    """What is wrong, in words that fit in brackets."""


def head(path: Path) -> Head:
    """Colour and size of a picture whose pixels are not read; raises DataError."""
    return _opened(
        path,
        lambda image: Head(
            colour=not (image.mode in _GREY or image.mode.startswith("I;16") or _sixteen_la(image)),
            width=image.width,
            height=image.height,
        ),
    )


def read(path: Path, colour: bool) -> Any:
    """The picture upright, as a Pillow image of mode RGB or L, transparent parts on white.

    Raises DataError naming the file that cannot be read, or not without guessing.
    """
    return _opened(path, lambda image: _read(image, colour))


@cache
def suffixes() -> frozenset[str]:
    """How names of picture files end, in lower case, with the dot."""
    from PIL import Image

    return frozenset(s for s, kind in Image.registered_extensions().items() if kind in FORMATS)


def _opened(path: Path, use: Callable[[Any], Read]) -> Read:
    from PIL import Image, UnidentifiedImageError

    Image.init()  # else threads race to load Pillow's plugins
    try:
        with open_regular(path) as file:
            if not file.read(1):
                raise _BadPictureError("it is empty")
            file.seek(0)
            with Image.open(file, formats=[f for f in FORMATS if f in Image.OPEN]) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _BadPictureError(
                        f"it has {image.width}x{image.height} pixels, more than {MOST_PIXELS:,}"
                    )
                return use(image)
    except Exception as error:  # Pillow raises many kinds for damaged files
        why = (
            "it is of no known format"
            if isinstance(error, UnidentifiedImageError)
            else reason(error)
        )
        raise DataError(
            f"{shown(path)}: the file must be a readable image ({why}); mend or remove it"
        ) from None


def _sixteen_la(image: Any) -> bool:
    """Grey with transparency in 16 bits, of which Pillow makes RGBA."""
    return bool(image.tile) and image.tile[0][3] == "LA;16B"


def _read(image: Any, colour: bool) -> Any:
    from PIL import Image

    kind, raw = image.format, image.tile[0][3] if image.tile else None
    if kind != "MPO" and getattr(image, "n_frames", 1) > 1:  # MPO: a JPEG and its previews
        raise _BadPictureError(
            f"it holds {image.n_frames} pictures, and which is meant is not told"
        )
    tags = dict(image.tag_v2) if kind == "TIFF" else {}
    image.load()
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))  # Pillow itself turns a TIFF
    image = _eight_bits(image, kind, raw, tags)
    if turn is not None:
        image = image.transpose(Image.Transpose[turn])
    return image.convert("RGB" if colour else "L")


def _eight_bits(image: Any, kind: str, raw: Any, tags: dict[int, Any]) -> Any:
    """The picture in mode L or RGB, or in another that converts to both without loss of meaning."""
    mode = image.mode
    if any(n not in (1, 4) for n in _all(tags.get(_SAMPLE_FORMAT, 1))):  # unsigned, unspecified
        raise _BadPictureError(
            "its pixels are signed or floating-point, and their black and white are not told; save"
            " it with 8 or 16 unsigned bits"
        )
    if mode.startswith("I;16") or (mode == "I" and kind in ("PNG", "PPM")):
        return _of_sixteen(image, tags)
    if mode in ("I", "F"):
        raise _BadPictureError(
            "its pixels are 32-bit numbers, whose black and white are not told; save it with 8 or"
            " 16 bits"
        )
    if "transparency" in image.info and kind == "PNG":
        if raw == "RGB;16B":
            raise _BadPictureError("it has 16 bits and a transparent colour; save it with 8 bits")
        if raw in ("L;2", "L;4"):  # Pillow scales the pixels, and not the transparent one
            image.info["transparency"] *= 85 if raw == "L;2" else 17
    if mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    if mode not in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"):
        raise _BadPictureError(f"its mode {mode} has no certain meaning; save it as RGB or grey")
    return image.convert("L" if mode in ("1", "L") else "RGB")


def _of_sixteen(image: Any, tags: dict[int, Any]) -> Any:
    """Grey of up to 16 bits, white being the highest number: round(v * 255 / highest)."""
    from PIL import Image

    highest = (1 << _all(tags.get(_BITS, 16))[0]) - 1
    values = np.asarray(image)
    if values.min() < 0 or values.max() > highest:
        raise _BadPictureError(f"its pixels are not all from 0 to {highest}")
    values = values.astype(np.uint32)
    grey = ((values * 510 + highest) // (2 * highest)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    if "transparency" in image.info:
        clear = values == image.info["transparency"]
        _some_seen(not clear.all())
        grey[clear] = 255
    return Image.fromarray(grey)


def _on_white(image: Any) -> Any:
    from PIL import Image

    _some_seen(image.getchannel("A").getextrema()[1] > 0)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _some_seen(seen: bool) -> None:
    if not seen:
        raise _BadPictureError("it is wholly transparent; save it without transparency")


def _all(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)
