"""Images from files as they were shown: 8 bits a colour, opaque, upright, still; or refused."""

import io
import warnings
import zipfile

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from signseg_utils.basics.refusals import BadFile, first_line

LARGEST_BYTES = 64 * 2**20  # of one image's file; more is no stimulus
LARGEST_PIXELS = 64 * 10**6
_ORIENTATION = 0x0112  # the tag of EXIF
# Modes of Pillow that become RGB without a choice: grey, palette and colour, one byte each.
_PLAIN = frozenset({"1", "L", "P", "RGB", "LA", "PA", "RGBA"})


def decode(content: bytes, name: str) -> Tensor:
    """Pixels of an image file, uint8 ``[3, height, width]``.

    Parameters
    ----------
    content
        The file's bytes.
    name
        Where they come from, for the message.

    Raises
    ------
    BadFile
        If it is no whole image, or one whose pixels depend on a choice that only who showed it can
        make: more than 8 bits, CMYK, transparency, several frames, a rotation by EXIF.
    """
    if not content:
        raise BadFile(f"expected an image in {name}; the file is empty; copy or export it anew")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                _check(image, name)
                return pil_to_tensor(image.convert("RGB"))
    except BadFile:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadFile(
            f"expected an image of at most {LARGEST_PIXELS:,} pixels in {name}, because all images "
            f"are held in memory; got {first_line(error)}; scale it down"
        ) from error
    except Exception as error:  # Pillow's decoders raise of all kinds: OSError, SyntaxError, ...
        if _unidentified(error):
            raise BadFile(
                f"expected an image in {name}, such as PNG or JPEG; got no image: its bytes begin "
                f"with {content[:12]!r}; export it anew, or mend the path"
            ) from error
        raise BadFile(
            f"expected a whole image in {name}; it is truncated or damaged ({first_line(error)}); "
            "copy or export it anew"
        ) from error


def encode(image: Tensor, quality: int) -> bytes:
    """An image [3, height, width] in 0..1 as WebP of that quality, 0..100; `decode` reads it.

    Lossy, and at one quality a third smaller than JPEG. Who measures an image that is kept so
    measures what `decode` gives back.
    """
    buffer = io.BytesIO()
    pixels = (image.clamp(0, 1) * 255).round().byte()
    to_pil_image(pixels.cpu()).save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def _unidentified(error: BaseException | None) -> bool:
    """Whether Pillow knew no format; ultralytics, once imported, asks for a plugin then."""
    while error is not None and not isinstance(error, Image.UnidentifiedImageError):
        error = error.__context__
    return error is not None


def read_member(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    """Content of a zip's member that should be one image.

    Raises
    ------
    KeyError
        If there is no such member.
    BadFile
        If it is too large to be one, encrypted, or damaged.
    """
    size = archive.getinfo(member).file_size
    if size > LARGEST_BYTES:
        raise BadFile(
            f"expected an image of at most {LARGEST_BYTES // 2**20} MiB at {name}, because all "
            f"images are held in memory; got {size:,} bytes unpacked; scale it down"
        )
    try:
        return archive.read(member)
    except Exception as error:  # zipfile: BadZipFile, RuntimeError, zlib.error, NotImplementedError
        raise BadFile(
            f"expected a whole image at {name}; the archive is damaged there "
            f"({first_line(error)}); copy it anew"
        ) from error


def open_zip(path: object) -> zipfile.ZipFile:
    """A zip archive, opened to be read.

    Raises
    ------
    BadFile
        If it is none.
    """
    try:
        return zipfile.ZipFile(str(path))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadFile(
            f"expected a zip archive at {path}; got: {first_line(error)}; it is truncated or "
            "something else: copy it anew"
        ) from error


def _check(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > LARGEST_PIXELS:
        raise BadFile(
            f"expected an image of at most {LARGEST_PIXELS:,} pixels in {name}, because all images "
            f"are held in memory; got {width} x {height} pixels; scale it down"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise BadFile(
            f"expected one still image in {name}, because a response belongs to one; got {frames} "
            "frames; save the one that was shown as PNG"
        )
    turned = image.getexif().get(_ORIENTATION, 1)
    if turned not in (0, 1):
        raise BadFile(
            f"expected upright pixels in {name}; got the EXIF orientation {turned}, which some "
            "programs obey and others do not; save it upright, as it was shown, without that tag"
        )
    if image.mode not in _PLAIN:
        raise BadFile(
            f"expected 8 bits a colour in RGB or grey in {name}; got mode {image.mode}, and how it "
            "was brought to the screen cannot be known; save it as it was shown, as RGB with 8 bits"
        )
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        opacity = image.convert("RGBA").getchannel("A")
        if min(opacity.getdata()) < 255:
            raise BadFile(
                f"expected an opaque image in {name}; parts of it are transparent, and on which "
                "background it was shown cannot be known; save it with that background"
            )


def sized(pixels: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """Pixels uint8 [image, 3, height, width] at another size, antialiased, the same everywhere.

    Half-way between two values a sum in single precision falls to either side, as the processor
    has it. So sums are doubles, and what lies within a millionth of half-way counts as half-way.
    """
    if pixels.shape[-2:] == (size, size):
        return pixels
    wide = F.interpolate(pixels.double(), (size, size), mode=mode, antialias=True)
    return wide.round(decimals=6).round().clamp(0, 255).to(torch.uint8)
