"""Six cameras: each with its own place, light, colour cast, blur, noise and angle; and what stands before people."""

import dataclasses
import functools

import cv2
import numpy as np

from data_prep.rendered.looks import PALETTE
from data_prep.rendered.people import Figure, Light, draw_figure

SCENE_WIDTH, SCENE_HEIGHT = 800, 600
OCCLUDERS = ("pole", "bush", "bicycle")
_NOBODY, _OCCLUDER = 0, 255
_SUPERSAMPLING = 3


@dataclasses.dataclass(frozen=True)
class Camera:
    """A fixed camera. A person at ground row y is (y - horizon) / height pixels in a metre."""

    place: str  # names the painter of its backdrop
    horizon: float  # row of the horizon in the scene
    height: float  # metres above the ground
    elevation: float  # radians from which it looks down
    flow: float  # the direction most people walk in, as yaw
    light: Light
    gain: float
    cast: tuple[float, float, float]  # factors of red, green, blue
    gradient: tuple[float, float]  # brighter to the right, to the bottom
    blur: float  # pixels
    noise: float  # grey levels
    quality: int  # of the JPEG


def _light(x: float, y: float, z: float, ambient: float) -> Light:
    return Light(tuple(np.array((x, y, z)) / np.linalg.norm((x, y, z))), ambient)


CAMERAS = (
    Camera(
        place="shops",
        horizon=110,
        height=3.2,
        elevation=0.16,
        flow=0.3,
        light=_light(0.5, 0.8, 0.6, 0.6),
        gain=1.05,
        cast=(1.04, 1, 0.94),
        gradient=(0.12, 0),
        blur=0.35,
        noise=3,
        quality=88,
    ),
    Camera(
        place="lawn",
        horizon=60,
        height=3.6,
        elevation=0.24,
        flow=1.4,
        light=_light(-0.7, 0.7, 0.5, 0.5),
        gain=1.08,
        cast=(0.98, 1.03, 0.95),
        gradient=(-0.15, 0.05),
        blur=0.45,
        noise=4,
        quality=82,
    ),
    Camera(
        place="brick",
        horizon=140,
        height=2.4,
        elevation=0.08,
        flow=2.6,
        light=_light(0.1, 0.5, 0.9, 0.65),
        gain=0.88,
        cast=(1.06, 0.98, 0.93),
        gradient=(0, 0.15),
        blur=0.6,
        noise=6,
        quality=76,
    ),
    Camera(
        place="hall",
        horizon=90,
        height=2.9,
        elevation=0.20,
        flow=3.6,
        light=_light(0.0, 1.0, 0.4, 0.65),
        gain=0.98,
        cast=(0.94, 1, 1.06),
        gradient=(0.05, -0.2),
        blur=0.4,
        noise=3.5,
        quality=90,
    ),
    Camera(
        place="street",
        horizon=30,
        height=4.6,
        elevation=0.32,
        flow=4.7,
        light=_light(-0.4, 0.9, 0.2, 0.5),
        gain=1,
        cast=(0.96, 0.99, 1.05),
        gradient=(0.18, 0.1),
        blur=0.65,
        noise=5,
        quality=72,
    ),
    Camera(
        place="racks",
        horizon=120,
        height=2.7,
        elevation=0.13,
        flow=5.6,
        light=_light(0.9, 0.3, 0.4, 0.45),
        gain=0.84,
        cast=(1.08, 0.99, 0.86),
        gradient=(-0.2, 0),
        blur=0.5,
        noise=7,
        quality=80,
    ),
)


@dataclasses.dataclass(frozen=True)
class Thing:
    """What stands in a scene: a turned figure, or the name of an occluder, at a scene pixel on the ground."""

    what: Figure | str
    x: float
    y: float


@dataclasses.dataclass(frozen=True)
class View:
    """A picture and what is known about it.

    Attributes:
        image: uint8 [height, width, 3], RGB.
        masks: bool [things, height, width], what is seen of each thing; all False for occluders.
        keypoints: [things, 18, 3] in image pixels; v is 2 seen, 1 hidden, 0 outside the image or a face turned away.
    """

    image: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray


def pixels_per_metre(camera: Camera, y: float) -> float:
    """The scale of a thing that stands at scene row y."""
    return (y - camera.horizon) / camera.height


def render(
    camera: Camera,
    seed: int,
    things: list[Thing],
    window: tuple[float, float, float, float],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> View:
    """Takes a picture.

    Args:
        camera: one of CAMERAS.
        seed: of the backdrop; the same for all pictures of a dataset.
        things: who and what stands there, in any order; the nearer hides the farther.
        window: left, top, width, height of the picture in the scene; may reach past its borders.
        size: width, height of the picture in pixels.
        rng: chance of occluders' looks and of the sensor.
    """
    left, top, width, height = window
    canvas_size = (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING)
    zoom = np.array((canvas_size[0] / width, canvas_size[1] / height))
    to_canvas = np.array(((zoom[0], 0, -left * zoom[0]), (0, zoom[1], -top * zoom[1])))
    canvas = cv2.warpAffine(
        backdrop(camera, seed), to_canvas, canvas_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    owners = np.full(canvas.shape[:2], _NOBODY, np.uint8)
    keypoints = np.zeros((len(things), 18, 3))
    for number in sorted(range(len(things)), key=lambda number: things[number].y):
        thing = things[number]
        origin = tuple(to_canvas @ (thing.x, thing.y, 1))
        scale = pixels_per_metre(camera, thing.y) * zoom[1]
        _shadow(canvas, origin, scale, camera.light)
        if isinstance(thing.what, str):
            _OCCLUDER_PAINTERS[thing.what](canvas, owners, origin, scale, rng)
        else:
            keypoints[number] = draw_figure(canvas, owners, thing.what, number + 1, origin, scale, camera.light)
    masks = np.stack([_shrink(owners == number + 1, size) for number in range(len(things))])
    for number in range(len(things)):
        keypoints[number] = _settle(keypoints[number], owners, number + 1)
    image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return View(_sensor(image, camera, rng), masks, keypoints)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """uint8 RGB [height, width, 3] to JPEG."""
    done, encoded = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done
    return encoded.tobytes()


def _shrink(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127


def _settle(keypoints: np.ndarray, owners: np.ndarray, owner: int) -> np.ndarray:
    """Canvas to image pixels; points that something else covers become hidden, points outside unlabelled."""
    x, y, v = keypoints.T
    inside = (x >= 0) & (y >= 0) & (x < owners.shape[1]) & (y < owners.shape[0])
    covered = np.zeros(len(v), bool)
    covered[inside] = owners[y[inside].astype(int), x[inside].astype(int)] != owner
    v = np.where(covered, np.minimum(v, 1), v) * inside
    return np.column_stack((x / _SUPERSAMPLING, y / _SUPERSAMPLING, v)) * (v > 0)[:, None]


def _sensor(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    across, down = np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height)[:, None]
    exposure = camera.gain * rng.uniform(0.9, 1.1) * (1 + camera.gradient[0] * across + camera.gradient[1] * down)
    cast = np.array(camera.cast) * rng.uniform(0.96, 1.04, 3)
    pixels = image.astype(np.float32) * (exposure[..., None] * cast).astype(np.float32)
    pixels = cv2.GaussianBlur(pixels, (0, 0), camera.blur * rng.uniform(0.8, 1.4) * min(height, 160) / 160 + 0.2)
    pixels += rng.normal(0, camera.noise, pixels.shape).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _shadow(canvas: np.ndarray, origin: tuple[float, float], scale: float, light: Light) -> None:
    """A soft spot under the feet and a longer one away from the light."""
    away = -light.direction[0] * 0.7 * scale
    corner = np.array((origin[0] - 1.3 * scale, origin[1] - 0.4 * scale)).astype(int).clip(0)
    region = canvas[corner[1] : max(0, int(origin[1] + 0.4 * scale)), corner[0] : max(0, int(origin[0] + 1.3 * scale))]
    if region.size == 0:
        return
    x, y = np.array(origin) - corner
    mask = np.zeros(region.shape[:2], np.float32)
    _ellipse(mask, (x, y), (0.34 * scale, 0.12 * scale), 0.42)
    _ellipse(mask, (x + away / 2, y - 0.05 * scale), (abs(away) / 2 + 0.3 * scale, 0.16 * scale), 0.22)
    mask = cv2.blur(mask, (max(1, int(0.12 * scale)),) * 2)
    region[:] = (region * (1 - mask[..., None])).astype(np.uint8)


def _ellipse(image: np.ndarray, centre: tuple, axes: tuple, colour: float | tuple) -> None:
    cv2.ellipse(
        image,
        tuple(int(value) for value in np.clip(centre, -9999, 9999)),
        tuple(int(max(1, axis)) for axis in axes),
        0,
        0,
        360,
        colour,
        -1,
        cv2.LINE_AA if image.dtype == np.uint8 else cv2.LINE_8,
    )


# ---------------------------------------------------------------- occluders


def _pole(canvas: np.ndarray, owners: np.ndarray, origin: tuple, scale: float, rng: np.random.Generator) -> None:
    x, y = (int(value) for value in origin)
    half, top = int(rng.uniform(0.035, 0.075) * scale) + 1, int(y - rng.uniform(1.0, 3.2) * scale)
    colour = np.array(_clutter_colour(rng))
    for offset in range(-half, half + 1):
        shade = 1.05 - 0.5 * abs(offset + 0.4 * half) / half
        cv2.line(canvas, (x + offset, top), (x + offset, y), (colour * shade).clip(0, 255).tolist(), 1)
    cv2.rectangle(owners, (x - half, top), (x + half, y), _OCCLUDER, -1)


def _bush(canvas: np.ndarray, owners: np.ndarray, origin: tuple, scale: float, rng: np.random.Generator) -> None:
    for _ in range(45):
        height = rng.uniform(0, 0.6)
        centre = (origin[0] + rng.normal(0, 0.22) * scale, origin[1] - height * scale)
        axes = (rng.uniform(0.05, 0.12) * scale, rng.uniform(0.04, 0.1) * scale)
        green = np.array((52, 96, 44)) * rng.uniform(0.5, 1.1) * (0.7 + 0.5 * height)
        _ellipse(canvas, centre, axes, green.tolist())
        _ellipse(owners, centre, axes, _OCCLUDER)


def _bicycle(canvas: np.ndarray, owners: np.ndarray, origin: tuple, scale: float, rng: np.random.Generator) -> None:
    colour, thick = _clutter_colour(rng), max(2, int(0.035 * scale))
    side = rng.choice((-1, 1))

    def at(x: float, y: float) -> tuple[int, int]:
        return int(origin[0] + side * x * scale), int(origin[1] - y * scale)

    frame = ((-0.5, 0.33), (-0.05, 0.3), (0.35, 0.75), (-0.2, 0.75), (-0.05, 0.3), (-0.2, 0.75), (-0.5, 0.33))
    strokes = [
        (frame, colour),
        (((0.5, 0.33), (0.33, 0.95), (0.2, 1.0)), colour),
        (((-0.3, 0.88), (-0.1, 0.88)), (30, 28, 28)),
    ]
    for image, paint in ((canvas, None), (owners, _OCCLUDER)):
        for x in (-0.5, 0.5):
            cv2.circle(image, at(x, 0.33), int(0.32 * scale), paint or (34, 34, 36), thick)
        for points, stroke in strokes:
            cv2.polylines(image, [np.array([at(*point) for point in points])], False, paint or stroke, thick)


_OCCLUDER_PAINTERS = {"pole": _pole, "bush": _bush, "bicycle": _bicycle}


# ---------------------------------------------------------------- backdrops


@functools.cache
def backdrop(camera: Camera, seed: int) -> np.ndarray:
    """The empty scene of a camera: uint8 [SCENE_HEIGHT, SCENE_WIDTH, 3], RGB. Treat it as read-only."""
    rng = np.random.default_rng([seed, CAMERAS.index(camera)])
    image = np.zeros((SCENE_HEIGHT, SCENE_WIDTH, 3), np.uint8)
    _PLACES[camera.place](image, int(camera.horizon), rng)
    return _weather(image, rng)


def _clutter_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour that clothes have too."""
    colour = np.array(list(PALETTE.values())[rng.integers(len(PALETTE))])
    return tuple(int(value) for value in np.clip(colour * rng.uniform(0.75, 1.15), 0, 255))


def _weather(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Faded paint; dirt and unevenness at three scales."""
    grey = image.mean(axis=2, keepdims=True)
    texture = np.zeros(image.shape[:2], np.float32)
    for cell, strength in ((1, 5), (6, 6), (60, 9)):
        small = rng.normal(0, strength, (SCENE_HEIGHT // cell + 1, SCENE_WIDTH // cell + 1)).astype(np.float32)
        texture += cv2.resize(small, (SCENE_WIDTH, SCENE_HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(grey + 0.6 * (image - grey) + texture[..., None], 0, 255).astype(np.uint8)


def _ground(image: np.ndarray, top: int, colour: tuple, lines: tuple | None, horizon: int, rows: int = 14) -> None:
    """The floor below row top, with tile lines that run to the horizon."""
    image[top:] = colour
    if lines is None:
        return
    for step in range(1, rows):
        row = int(horizon + (SCENE_HEIGHT - horizon) * 1.6 / (0.6 + 0.55 * step))
        if row > top:
            cv2.line(image, (0, row), (SCENE_WIDTH, row), lines, 2)
    for x in range(-1600, 2500, 130):
        start = np.array((SCENE_WIDTH / 2, horizon))
        end = np.array((x, SCENE_HEIGHT))
        meet = start + (end - start) * (top - horizon) / (SCENE_HEIGHT - horizon)
        cv2.line(image, tuple(meet.astype(int).tolist()), (x, SCENE_HEIGHT), lines, 2, cv2.LINE_AA)


def _rectangle(image: np.ndarray, x: int, y: int, width: int, height: int, colour: tuple) -> None:
    cv2.rectangle(image, (int(x), int(y)), (int(x + width), int(y + height)), tuple(int(c) for c in colour), -1)


def _shops(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 250
    _rectangle(image, 0, 0, SCENE_WIDTH, foot, (186, 172, 150))
    for x in range(-20, SCENE_WIDTH, 165):
        _rectangle(image, x + 10, 70, 145, foot - 70, (58, 66, 74))
        for _ in range(9):
            shelf = rng.integers(10, 120), rng.integers(100, foot - 40)
            _rectangle(
                image, x + 14 + shelf[0], shelf[1], rng.integers(10, 30), rng.integers(15, 38), _clutter_colour(rng)
            )
        awning, other = _clutter_colour(rng), (235, 232, 225)
        for stripe in range(10):
            _rectangle(image, x + 5 + stripe * 15.5, 55, 15, 34, awning if stripe % 2 else other)
        _rectangle(image, x + 5, 12, 155, 38, _clutter_colour(rng))
    _ground(image, foot, (168, 164, 160), (140, 136, 132), horizon)
    for _ in range(9):
        x, y = rng.integers(0, SCENE_WIDTH), rng.integers(foot + 5, foot + 60)
        _rectangle(image, x, y - 40, 36, 40, _clutter_colour(rng))
        _rectangle(image, x, y - 40, 36, 6, (90, 76, 60))


def _lawn(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    _rectangle(image, 0, 0, SCENE_WIDTH, 140, (150, 176, 196))
    for _ in range(500):
        centre = rng.integers(-20, SCENE_WIDTH + 20), rng.integers(-10, 165)
        _ellipse(
            image,
            centre,
            (rng.integers(8, 30), rng.integers(8, 22)),
            (np.array((58, 100, 48)) * rng.uniform(0.5, 1.2)).tolist(),
        )
    for x in rng.integers(0, SCENE_WIDTH, 9):
        _rectangle(image, x, 60, rng.integers(8, 20), 110, (84, 66, 50))
    _ground(image, 165, (98, 134, 66), None, horizon)
    for _ in range(2600):
        x, y = rng.integers(0, SCENE_WIDTH), rng.integers(165, SCENE_HEIGHT)
        shade = (np.array((92, 130, 60)) * rng.uniform(0.7, 1.25)).tolist()
        cv2.line(image, (int(x), int(y)), (int(x + rng.integers(-4, 5)), int(y - 3 - (y - 160) // 40)), shade, 1)
    path = np.array(((330, 165), (400, 165), (760, 600), (60, 600)))
    cv2.fillPoly(image, [path], (188, 176, 152))
    for _ in range(26):
        x, y = int(rng.integers(0, SCENE_WIDTH)), int(rng.integers(180, SCENE_HEIGHT))
        for _ in range(7):
            _ellipse(image, (x + rng.integers(-22, 22), y + rng.integers(-9, 9)), (4, 4), _clutter_colour(rng))
    for x in (90, 640):
        _rectangle(image, x, 200, 120, 10, _clutter_colour(rng))
        _rectangle(image, x, 172, 120, 14, _clutter_colour(rng))
        _rectangle(image, x + 8, 210, 6, 30, (50, 48, 46))
        _rectangle(image, x + 106, 210, 6, 30, (50, 48, 46))


def _brick(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 310
    _rectangle(image, 0, 0, SCENE_WIDTH, foot, (150, 142, 132))
    for row in range(0, foot, 13):
        for x in range(-30, SCENE_WIDTH, 33):
            shade = np.array((148, 78, 60)) * rng.uniform(0.75, 1.15)
            _rectangle(image, x + (row // 13 % 2) * 16, row, 30, 10, shade)
    for x in (70, 330, 600):
        _rectangle(image, x, 40, 120, 120, (226, 222, 214))
        _rectangle(image, x + 8, 48, 104, 104, (52, 62, 78))
        _rectangle(image, x + 58, 48, 5, 104, (226, 222, 214))
    for x in rng.integers(0, SCENE_WIDTH, 8):
        _rectangle(image, x, rng.integers(170, 230), rng.integers(30, 60), rng.integers(40, 70), _clutter_colour(rng))
    _ground(image, foot, (118, 114, 112), (98, 94, 92), horizon, rows=20)
    _rectangle(image, 0, foot, SCENE_WIDTH, 12, (88, 84, 82))


def _hall(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 230
    _rectangle(image, 0, 0, SCENE_WIDTH, foot, (214, 218, 218))
    _rectangle(image, 0, foot - 70, SCENE_WIDTH, 70, (134, 152, 168))
    for x in range(30, SCENE_WIDTH, 200):
        _rectangle(image, x, 30, 84, foot - 30, (112, 84, 60))
        _ellipse(image, (x + 72, 150), (4, 4), (220, 210, 120))
    for x in rng.integers(0, SCENE_WIDTH, 9):
        _rectangle(image, x, rng.integers(25, 110), rng.integers(30, 60), rng.integers(35, 60), _clutter_colour(rng))
    _ground(image, foot, (196, 192, 182), (172, 168, 160), horizon)
    for x in range(40, SCENE_WIDTH, 160):  # lamps mirrored on the floor
        _ellipse(image, (x, 360), (24, 70), (222, 222, 216))
    for x in (150, 470, 700):
        _rectangle(image, x, foot + 10, 90, 26, _clutter_colour(rng))
        _rectangle(image, x, foot - 30, 90, 36, _clutter_colour(rng))


def _street(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    _ground(image, 0, (92, 94, 98), None, horizon)
    _rectangle(image, 0, 0, SCENE_WIDTH, 110, (150, 148, 144))
    for x in range(-30, SCENE_WIDTH, 190):  # parked cars
        colour = _clutter_colour(rng)
        _rectangle(image, x + 30, 40, 110, 50, colour)
        _rectangle(image, x + 40, 48, 90, 24, (70, 84, 96))
        _rectangle(image, x, 78, 170, 50, colour)
        for wheel in (36, 134):
            _ellipse(image, (x + wheel, 128), (18, 18), (26, 26, 28))
    for x in range(-100, SCENE_WIDTH, 90):  # the crossing
        stripe = np.array(((x, 600), (x + 48, 600), (x + 92, 330), (x + 60, 330)))
        cv2.fillPoly(image, [stripe], (214, 214, 208), cv2.LINE_AA)
    cv2.line(image, (0, 215), (SCENE_WIDTH, 190), (206, 178, 60), 7, cv2.LINE_AA)
    for x in rng.integers(0, SCENE_WIDTH, 6):  # cones and boxes
        y = int(rng.integers(150, 320))
        _rectangle(image, x, y, rng.integers(18, 40), rng.integers(20, 40), _clutter_colour(rng))


def _racks(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 280
    _rectangle(image, 0, 0, SCENE_WIDTH, foot, (106, 110, 112))
    for x in range(0, SCENE_WIDTH, 26):
        _rectangle(image, x, 0, 12, 150, (124, 128, 130))
    for _ in range(420):
        centre = rng.integers(-20, SCENE_WIDTH + 20), rng.integers(150, foot)
        _ellipse(
            image,
            centre,
            (rng.integers(6, 22), rng.integers(5, 16)),
            (np.array((56, 88, 44)) * rng.uniform(0.5, 1.15)).tolist(),
        )
    _ground(image, foot, (142, 128, 112), (124, 110, 96), horizon, rows=18)
    nobody = np.zeros(image.shape[:2], np.uint8)
    for x in range(30, SCENE_WIDTH, 62):
        _bicycle(image, nobody, (x, foot + 45 + rng.integers(-6, 6)), 68.0, rng)


_PLACES = {"shops": _shops, "lawn": _lawn, "brick": _brick, "hall": _hall, "street": _street, "racks": _racks}
