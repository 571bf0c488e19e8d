"""Overlays of maps, limbs and keypoints on images, for visual inspection. They are uint8 RGB [height, width, 3]."""

import cv2
import numpy as np

from pose_pretrain.skeleton import KEYPOINTS, LIMBS

_PANEL_HEIGHT = 256  # least, in pixels
# The person's left side is blue, the right side red, the middle green.
_COLOURS = {"left": (70, 130, 255), "right": (255, 80, 70), "middle": (80, 220, 90)}


def draw_pose(image: np.ndarray, keypoints: np.ndarray, threshold: float = 0.1) -> np.ndarray:
    """Draws the limbs and keypoints of one person on a copy of the image.

    Args:
        image: uint8 [height, width, 3].
        keypoints: float [18, 3]: x, y in pixels and a score (or visibility).
        threshold: The lowest score that is drawn; keypoints of score 0 are never drawn.
    """
    picture = np.ascontiguousarray(image).copy()
    thickness = max(1, round(max(image.shape[:2]) / 128))
    points = [tuple(round(float(c)) for c in point[:2]) for point in keypoints]
    seen = keypoints[:, 2] >= max(threshold, 1e-9)
    for start, end in LIMBS:
        if seen[start] and seen[end]:
            cv2.line(picture, points[start], points[end], _limb_colour(start, end), thickness, cv2.LINE_AA)
    for number, name in enumerate(KEYPOINTS):
        if seen[number]:
            cv2.circle(picture, points[number], thickness + 1, _colour(name), -1, cv2.LINE_AA)
            cv2.circle(picture, points[number], thickness + 1, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def draw_confidence(image: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Overlays the maximum of the 18 parts' confidences at each position, from blue (0) to red (1).

    Args:
        image: uint8 [height, width, 3].
        confidence: float [h, w, 19]; the background is not shown.
    """
    return draw_heat(image, np.clip(confidence[..., : len(KEYPOINTS)].max(axis=-1), 0, 1))


def draw_heat(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Overlays values [h, w] from blue (0) to red (1) on an image, uint8 [height, width, 3]."""
    heat = cv2.applyColorMap(np.uint8(255 * _enlarged(values, image)), cv2.COLORMAP_JET)
    return _blend(image, heat[..., ::-1], 0.5)


def draw_affinity(image: np.ndarray, affinity: np.ndarray) -> np.ndarray:
    """Overlays the longest of the 19 limbs' vectors at each position: hue is its direction, brightness its length.

    Args:
        image: uint8 [height, width, 3].
        affinity: float [h, w, 38].
    """
    vectors = affinity.reshape(*affinity.shape[:2], len(LIMBS), 2)
    longest = np.linalg.norm(vectors, axis=-1).argmax(axis=-1)
    x, y = np.moveaxis(np.take_along_axis(vectors, longest[..., None, None], axis=2)[:, :, 0], -1, 0)
    x, y = _enlarged(x, image), _enlarged(y, image)
    hue = (np.degrees(np.arctan2(y, x)) % 360) / 2
    value = 255 * np.clip(np.hypot(x, y), 0, 1)
    colours = cv2.cvtColor(np.stack([hue, np.full_like(hue, 255), value], -1).astype(np.uint8), cv2.COLOR_HSV2RGB)
    return _blend(image, colours, 0.65)


def draw_panel(image: np.ndarray, confidence: np.ndarray, affinity: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Draws image, confidence maps, affinity maps and keypoints side by side, at least 256 pixels high.

    Args:
        image: uint8 or float RGB 0..255 [height, width, 3], the network's input.
        confidence, affinity: float [h, w, 19] and [h, w, 38], the maps of that image.
        keypoints: float [18, 3]: x, y in pixels of that image, and a score.
    """
    large = enlarge(image)
    factor = large.shape[0] // image.shape[0]
    enlarged = np.concatenate([factor * (keypoints[:, :2] + 0.5) - 0.5, keypoints[:, 2:]], axis=1)
    drawn = (large, draw_confidence(large, confidence), draw_affinity(large, affinity), draw_pose(large, enlarged))
    return np.concatenate(drawn, axis=1)


def enlarge(image: np.ndarray) -> np.ndarray:
    """Enlarges an image, 0..255, to at least 256 pixels of height, by a whole factor: uint8 [height, width, 3]."""
    factor = -(-_PANEL_HEIGHT // image.shape[0])
    return cv2.resize(np.clip(image, 0, 255).astype(np.uint8), None, fx=factor, fy=factor)


def _enlarged(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    size = (image.shape[1], image.shape[0])
    return cv2.resize(np.asarray(values, np.float32), size, interpolation=cv2.INTER_LINEAR)


def _blend(image: np.ndarray, colours: np.ndarray, share: float) -> np.ndarray:
    return cv2.addWeighted(np.ascontiguousarray(image), 1 - share, np.ascontiguousarray(colours), share, 0)


def _colour(name: str) -> tuple[int, int, int]:
    return _COLOURS.get(name.partition("_")[0], _COLOURS["middle"])


def _limb_colour(start: int, end: int) -> tuple[int, int, int]:
    return max((_colour(KEYPOINTS[start]), _colour(KEYPOINTS[end])), key=lambda colour: colour != _COLOURS["middle"])
