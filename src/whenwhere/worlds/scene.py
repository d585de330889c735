"""What a scene is: objects that move along known paths, a camera, lights, and a list of what happens when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from whenwhere.errors import InputError

Vector = tuple[float, float, float]

SHAPES = ("sphere", "cube", "cylinder", "cone", "snitch")
MATERIALS = ("metal", "rubber")
SIZES = {"small": 0.25, "medium": 0.5, "large": 0.75}
"""Radius of each size."""
COLOURS = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
"""sRGB of the eight colours that an object may have; the snitch is gold."""
GOLD = (255, 215, 0)
CYLINDER_FLATNESS = 0.65
"""Half height of a cylinder of radius 1."""
SNITCH_BALL = 0.6
"""Radius of the ball of a snitch of radius 1; the flat ring around it reaches to 1."""
SNITCH_RING = 0.75
"""Inner radius of that ring."""


@dataclass(frozen=True)
class Key:
    """Where an object is at one time.

    Args:
        time: seconds.
        position: x, y, z of the object's centre.
        yaw: degrees about the vertical, counterclockwise seen from above.
        tilt: degrees about the object's own y axis, applied before the yaw.
        scale: factor of the object's radius.
    """

    time: float
    position: Vector
    yaw: float = 0.0
    tilt: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Poses:
    """A trajectory at T times: ``position`` (T, 3), ``yaw``, ``tilt`` (degrees) and ``scale`` (T,), all float64."""

    position: np.ndarray
    yaw: np.ndarray
    tilt: np.ndarray
    scale: np.ndarray

    def rotation(self) -> np.ndarray:
        """Return (T, 3, 3): ``rotation @ v`` takes a vector of the object's frame into the world's."""
        cy, sy = _turn(self.yaw)
        ct, st = _turn(self.tilt)
        zero = np.zeros_like(cy)
        rows = [[cy * ct, -sy, cy * st], [sy * ct, cy, sy * st], [-st, zero, ct]]
        return np.moveaxis(np.array(rows), -1, 0)


@dataclass(frozen=True)
class Trajectory:
    """A path through time: linear between its keys, at rest before the first and after the last.

    Args:
        keys: at least one, at increasing times.

    Raises:
        InputError: there is no key, or the times do not increase.
    """

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        times = [key.time for key in self.keys]
        if not times or any(after <= before for before, after in zip(times, times[1:], strict=False)):
            raise InputError(f"keys at {times}", "at least one key, at strictly increasing times")

    @classmethod
    def still(cls, position: Vector, yaw: float = 0.0) -> Trajectory:
        """Return the path of an object that never moves."""
        return cls((Key(0.0, position, yaw),))

    @property
    def last(self) -> Key:
        """The key at which the path ends."""
        return self.keys[-1]

    def then(self, *keys: Key) -> Trajectory:
        """Return the path with later keys appended; the object rests until ``keys[0]``.

        The first of the keys tells when the rest ends, so it repeats the pose of :attr:`last` at the time of the start;
        it is left out where the path already ends at that time.
        """
        return Trajectory(self.keys + (keys[1:] if keys and keys[0].time == self.last.time else keys))

    def poses(self, times: Sequence[float] | np.ndarray) -> Poses:
        """Return the poses at (T,) times in seconds."""
        at = np.asarray(times, np.float64)
        knots = np.array([key.time for key in self.keys])
        values = np.array([(*key.position, key.yaw, key.tilt, key.scale) for key in self.keys])  # (K, 6)
        x, y, z, yaw, tilt, scale = (np.interp(at, knots, column) for column in values.T)
        return Poses(np.stack([x, y, z], axis=-1), yaw, tilt, scale)

    def position(self, time: float) -> Vector:
        """Return x, y, z at one time."""
        x, y, z = self.poses([time]).position[0].tolist()
        return x, y, z


@dataclass(frozen=True)
class Object:
    """One thing of the world.

    Shapes in their own frame, for a radius of 1: sphere of radius 1; cube from -1 to 1; cylinder of radius 1 about z,
    from -0.65 to 0.65; cone about z with base radius 1 at z = -1 and the tip at z = 1; snitch, a ball of radius 0.6
    with a flat ring from 0.75 to 1 around its equator.

    Args:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`, or "gold".
        material: one of `MATERIALS`.
        size: one of `SIZES`; the word for it.
        path: of the object's centre.
        radius: None takes the radius of the size.

    Raises:
        InputError: a word is unknown.
    """

    shape: str
    colour: str
    material: str
    size: str
    path: Trajectory
    radius: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (
            ("shape", SHAPES),
            ("colour", (*COLOURS, "gold")),
            ("material", MATERIALS),
            ("size", SIZES),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name} {getattr(self, name)!r}", f"one of {', '.join(known)}")
        if self.radius == 0.0:
            object.__setattr__(self, "radius", SIZES[self.size])
        if not self.radius > 0:
            raise InputError(f"radius {self.radius}", "above zero")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """sRGB, 0 to 255."""
        return GOLD if self.colour == "gold" else COLOURS[self.colour]

    @property
    def rest_height(self) -> float:
        """Height of the centre when the object stands upright on the floor."""
        return self.height(0.0)

    @property
    def footprint(self) -> float:
        """Radius of the circle on the floor that the upright object stays in, whatever its yaw."""
        return self.radius * (math.sqrt(2) if self.shape == "cube" else 1.0)

    @property
    def bound(self) -> float:
        """Radius of the sphere around the centre that holds the whole object, for a scale of 1."""
        factors = {"cube": math.sqrt(3), "cone": math.sqrt(2), "cylinder": math.hypot(1, CYLINDER_FLATNESS)}
        return self.radius * factors.get(self.shape, 1.0)

    def height(self, tilt: float) -> float:
        """Return the height of the centre above the floor on which the object lies with a tilt in degrees."""
        cos, sin = abs(math.cos(math.radians(tilt))), abs(math.sin(math.radians(tilt)))
        if self.shape == "cube":
            return self.radius * (cos + sin)
        if self.shape == "cylinder":
            return self.radius * (CYLINDER_FLATNESS * cos + sin)
        if self.shape == "cone":  # stands on its base; upside down (a tilt above 90) is not used
            return self.radius * (cos + sin)
        if self.shape == "snitch":
            return self.radius * max(SNITCH_BALL, sin)
        return self.radius

    def at(self, path: Trajectory) -> Object:
        """Return the same object with another path."""
        return replace(self, path=path)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at a point, with z up in the picture.

    A point P shows at column ``(1 + X) W / 2`` and row ``(1 - Y) H / 2`` with ``X = focal * right.(P - eye) / w``,
    ``Y = aspect * focal * up.(P - eye) / w`` and the depth ``w = forward.(P - eye)``.

    Args:
        eye: its path (yaw, tilt and scale of the keys have no meaning).
        target: path of the point it looks at.
        focal: of a picture from -1 to 1 in width; 2.1875 is a lens of 35 mm on a film of 32 mm.
        aspect: width by height of what the camera sees; None takes that of the picture, so that pixels are square.
            A picture of another aspect is squeezed.
    """

    eye: Trajectory
    target: Trajectory = field(default_factory=lambda: Trajectory.still((0.0, 0.0, 0.0)))
    focal: float = 2.1875
    aspect: float | None = None

    def frames(self, times: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the eye (T, 3) and the axes (T, 3, 3) as rows right, up, forward, at (T,) times in seconds."""
        eye, target = self.eye.poses(times).position, self.target.poses(times).position
        forward = _unit(target - eye)
        right = _unit(np.cross(forward, [0.0, 0.0, 1.0]))
        return eye, np.stack([right, np.cross(right, forward), forward], axis=1)

    def project(self, points: np.ndarray, times: Sequence[float] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return where points show in the picture.

        Args:
            points: (T, ..., 3) of the world, one set for each time.
            times: (T,) seconds.
            size: height and width in pixels.

        Returns:
            (T, ..., 3) float64: column and row in pixels (not clipped), and the depth, positive in front of the camera.
        """
        height, width = size
        eye, axes = self.frames(times)
        extra = (1,) * (points.ndim - 2)
        x, y, z = np.moveaxis(points - eye.reshape(len(eye), *extra, 3), -1, 0)
        a = axes.reshape(len(eye), *extra, 3, 3)
        right, up, depth = (a[..., i, 0] * x + a[..., i, 1] * y + a[..., i, 2] * z for i in range(3))
        column = (1 + self.focal * right / depth) * width / 2
        row = (1 - (self.aspect or width / height) * self.focal * up / depth) * height / 2
        return np.stack([column, row, depth], axis=-1)


@dataclass(frozen=True)
class Light:
    """A point light without falloff.

    Args:
        position: x, y, z.
        strength: added brightness of a surface that faces it; those of all lights and `Scene.ambient` sum to about 1.
        shadows: whether it casts hard ones.
    """

    position: Vector
    strength: float
    shadows: bool = False


@dataclass(frozen=True)
class Action:
    """Something that an object does.

    Args:
        kind: "slide", "rotate", "pick_place" or "contain".
        actor: index of the object in the scene.
        start: seconds.
        end: seconds, after the start.
        target: index of the object that is covered by "contain", or None.
    """

    kind: str
    actor: int
    start: float
    end: float
    target: int | None = None


@dataclass(frozen=True)
class Containment:
    """A time during which an object is under a cone; it is not drawn then.

    Args:
        inner: index of the object.
        outer: index of the cone.
        start: seconds: when the cone has come down.
        end: seconds: when it is lifted, or the end of the scene.
    """

    inner: int
    outer: int
    start: float
    end: float


@dataclass(frozen=True)
class Scene:
    """A world for some seconds.

    Args:
        objects: their index is their id everywhere.
        camera: where it is seen from.
        lights: point lights.
        seconds: how long it lasts; 0 for a still image.
        actions: sorted by start, end and actor.
        containments: sorted likewise.
        ambient: brightness of a surface that no light reaches.
        floor: sRGB of the floor, 0 to 255.
        background: sRGB of what is behind it, into which the floor fades with distance.
        checks: size of the squares of a faint chessboard on the floor, 0 for none.
        seed: what it was made from.
    """

    objects: tuple[Object, ...]
    camera: Camera
    lights: tuple[Light, ...]
    seconds: float
    actions: tuple[Action, ...] = ()
    containments: tuple[Containment, ...] = ()
    ambient: float = 0.35
    floor: tuple[int, int, int] = (168, 168, 168)
    background: tuple[int, int, int] = (120, 124, 130)
    checks: float = 0.0
    seed: str = ""

    def __post_init__(self) -> None:
        for action in self.actions:
            if not 0 <= action.start < action.end <= self.seconds + 1e-9:
                raise InputError(f"{action} in a scene of {self.seconds:g} s", "actions inside the scene")
        for item in (*self.actions, *self.containments):
            numbers = (item.actor, item.target or 0) if isinstance(item, Action) else (item.inner, item.outer)
            if not all(0 <= number < len(self.objects) for number in numbers):
                raise InputError(f"{item} with {len(self.objects)} objects", "indices of objects in the scene")

    def positions(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the centres of all objects, (T, N, 3) float64, at (T,) times in seconds."""
        found = [thing.path.poses(times).position for thing in self.objects]
        return np.stack(found, axis=1) if found else np.zeros((len(times), 0, 3))

    def hidden(self, times: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return (T, N) bool: which objects are under a cone."""
        at = np.asarray(times, np.float64)
        inside = np.zeros((len(at), len(self.objects)), bool)
        for item in self.containments:
            inside[:, item.inner] |= (at >= item.start) & (at <= item.end)
        return inside


def _unit(vectors: np.ndarray) -> np.ndarray:
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return vectors / np.sqrt(x * x + y * y + z * z)[..., None]


def _turn(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine, one by one: vectorised kernels may round a number differently at the end of an array."""
    angles = [math.radians(angle) for angle in degrees.tolist()]
    return np.array([math.cos(angle) for angle in angles]), np.array([math.sin(angle) for angle in angles])
