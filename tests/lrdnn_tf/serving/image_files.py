"""Image files as people have them, good and bad."""

import io

import cv2
import numpy as np
from PIL import Image

_GENERATOR = np.random.default_rng(0)
# Smooth, as photos are: JPEG decoders differ by little on them.
PIXELS = cv2.resize(_GENERATOR.integers(0, 256, (6, 4, 3), dtype=np.uint8), (32, 64), interpolation=cv2.INTER_CUBIC)


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


RGB = Image.fromarray(PIXELS)
JPEG, PNG = encoded(RGB, "JPEG", quality=95), encoded(RGB, "PNG")
_ALPHA = _GENERATOR.integers(0, 256, (*PIXELS.shape[:2], 1), dtype=np.uint8)
_GRAY = RGB.convert("L")

# Name to the file and the pixels that it holds, and by how much a decoder may differ from them.
GOOD = {
    "png": (PNG, PIXELS, 0),
    "jpeg": (JPEG, PIXELS, 12),
    "progressive jpeg": (encoded(RGB, "JPEG", quality=95, progressive=True), PIXELS, 12),
    "gray png": (encoded(_GRAY, "PNG"), np.asarray(_GRAY.convert("RGB")), 0),
    "gray jpeg": (encoded(_GRAY, "JPEG", quality=95), np.asarray(_GRAY.convert("RGB")), 12),
    "palette png": (encoded(RGB.convert("P"), "PNG"), np.asarray(RGB.convert("P").convert("RGB")), 0),
    "rgba png": (encoded(Image.fromarray(np.dstack([PIXELS, _ALPHA])), "PNG"), PIXELS, 0),
    "16-bit png": (cv2.imencode(".png", PIXELS[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes(), PIXELS, 0),
    "16-bit gray png": (
        cv2.imencode(".png", np.asarray(_GRAY).astype(np.uint16) * 257)[1].tobytes(),
        np.asarray(_GRAY.convert("RGB")),
        0,
    ),
    "cmyk jpeg": (encoded(RGB.convert("CMYK"), "JPEG", quality=95), PIXELS, 12),
    "1x1 png": (encoded(RGB.resize((1, 1)), "PNG"), np.asarray(RGB.resize((1, 1))), 0),
}

_HUGE = Image.new("RGB", (20000, 20000))

# Name to the file and what is said of it.
BAD = {
    "empty": (b"", "not a JPEG or PNG"),
    "text": (b"a text, not an image\n" * 20, "not a JPEG or PNG"),
    "gif": (encoded(RGB, "GIF"), "not a JPEG or PNG"),
    "truncated jpeg": (JPEG[: len(JPEG) // 2], "Invalid JPEG"),
    "truncated png": (PNG[: len(PNG) // 2], "Invalid PNG"),
    "only the start of a jpeg": (JPEG[:3], "Invalid JPEG"),
    "only the start of a png": (PNG[:8], "not a JPEG or PNG"),
    "png of 20000x20000": (encoded(_HUGE, "PNG", compress_level=1), "20000x20000 pixels, more than"),
    "jpeg of 20000x20000": (encoded(_HUGE, "JPEG"), "20000x20000 pixels, more than"),
}
