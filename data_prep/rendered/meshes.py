"""Meshes from which a person is built: elliptic rings around a path, joined by quads; ellipsoids, capsules, boxes."""

import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]  # corners [faces, 4, 3], colours [faces, 3]


def rings_around(
    path: np.ndarray, widths: np.ndarray, depths: np.ndarray, frame: np.ndarray, segments: int, square: float = 1.0
) -> np.ndarray:
    """Elliptic rings around a path along the second axis of a frame.

    Args:
        path: [levels, 3], the centres of the rings.
        widths, depths: [levels], half axes along the first and the third axis of the frame.
        frame: [3, 3], its columns are the axes left, up and forward.
        segments: Points of each ring.
        square: Exponent of the superellipse: 1 gives ellipses, less gives corners.

    Returns:
        [levels, segments, 3].
    """
    angle = np.arange(segments) * (2 * np.pi / segments)
    sin, cos = (np.sign(value) * np.abs(value) ** square for value in (np.sin(angle), np.cos(angle)))
    aside = cos[None, :, None] * widths[:, None, None] * frame[:, 0]
    front = sin[None, :, None] * depths[:, None, None] * frame[:, 2]
    return path[:, None, :] + aside + front


def face_positions(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position of each face between rings: level 0..1 upwards, aside -1..1 to the left, front -1..1.

    Each is [levels - 1, segments].
    """
    levels, segments = len(rings) - 1, rings.shape[1]
    angle = (np.arange(segments) + 0.5) * (2 * np.pi / segments)
    level = np.repeat((np.arange(levels) + 0.5)[:, None] / levels, segments, axis=1)
    return level, np.tile(np.cos(angle), (levels, 1)), np.tile(np.sin(angle), (levels, 1))


def faces_between(rings: np.ndarray, colours: np.ndarray | tuple, keep: np.ndarray | None = None) -> Mesh:
    """The quads between neighbouring rings.

    Args:
        rings: [levels, segments, 3].
        colours: [levels - 1, segments, 3], or one colour for all.
        keep: bool [levels - 1, segments], which quads to keep; all when None.
    """
    after = np.roll(rings, -1, axis=1)
    corners = np.stack([rings[:-1], after[:-1], after[1:], rings[1:]], axis=2)
    keep = np.ones(corners.shape[:2], bool) if keep is None else keep
    return corners[keep], np.broadcast_to(np.array(colours, float), (*keep.shape, 3))[keep]


def ball(
    centre: np.ndarray, frame: np.ndarray, radii: np.ndarray, levels: int, segments: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rings of an ellipsoid, and the direction of each face from its centre (left, up, front; length 1)."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, levels)
    path = centre + np.sin(latitude)[:, None] * radii[1] * frame[:, 1]
    rings = rings_around(path, np.cos(latitude) * radii[0], np.cos(latitude) * radii[2], frame, segments)
    middle = (latitude[1:] + latitude[:-1])[:, None] / 2
    _, aside, front = face_positions(rings)
    up = np.broadcast_to(np.sin(middle), aside.shape)
    return rings, np.stack([aside * np.cos(middle), up, front * np.cos(middle)], axis=-1)


def capsule(start: np.ndarray, end: np.ndarray, radii: tuple[float, ...], colour: tuple, segments: int = 12) -> Mesh:
    """A tapered capsule through the given radii, evenly spaced from start to end."""
    along = (end - start) / (np.linalg.norm(end - start) + 1e-9)
    reference = np.array((0.0, 0, 1)) if abs(along[2]) < 0.9 else np.array((0.0, 1, 0))
    aside = cross(along, reference)
    aside /= np.linalg.norm(aside)
    frame = np.column_stack((aside, along, cross(aside, along)))
    levels = np.linspace(0, 1, max(5, 2 * len(radii) - 1))
    radius = np.interp(levels, np.linspace(0, 1, len(radii)), radii)
    middle = start + levels[:, None] * (end - start)
    caps = ((0.0, 0.95), (0.6, 0.75), (0.9, 0.4))  # share of the radius, share of it beyond the end
    path = [start - along * radii[0] * beyond for _, beyond in caps]
    path += [*middle, *(end + along * radii[-1] * beyond for _, beyond in caps[::-1])]
    widths = np.array([radii[0] * s for s, _ in caps] + [*radius] + [radii[-1] * s for s, _ in caps[::-1]])
    rings = rings_around(np.stack(path), widths, widths, frame, segments)
    return faces_between(rings, colour)


def box(centre: np.ndarray, frame: np.ndarray, half_sizes: np.ndarray, colour: tuple) -> Mesh:
    """A box with rounded corners."""
    levels = np.array((-1.0, -0.97, -0.6, -0.2, 0.2, 0.6, 0.97, 1.0))
    shares = np.array((0.0, 0.88, 1.0, 1.0, 1.0, 1.0, 0.88, 0.0))
    path = centre + levels[:, None] * half_sizes[1] * frame[:, 1]
    rings = rings_around(path, shares * half_sizes[0], shares * half_sizes[2], frame, segments=20, square=0.5)
    return faces_between(rings, colour)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.cross along the last axis, without its overhead, which dominates for short arrays."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.array((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)).T


def interpolate(levels: np.ndarray, knots: np.ndarray, points: np.ndarray) -> np.ndarray:
    """np.interp for points [knots, 3]: [levels, 3]."""
    return np.stack([np.interp(levels, knots, points[:, axis]) for axis in range(3)], axis=1)
