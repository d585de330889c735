"""The camera: where points of the world show in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from whenwhere.worlds.paths import Trajectory


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
        right, up, depth = seen_from(eye, axes, points)
        column = (1 + self.focal * right / depth) * width / 2
        row = (1 - (self.aspect or width / height) * self.focal * up / depth) * height / 2
        return np.stack([column, row, depth], axis=-1)


def seen_from(eye: np.ndarray, axes: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points in a camera's own axes, in a fixed order of additions.

    Args:
        eye: (T, 3).
        axes: (T, 3, 3), rows right, up, forward.
        points: (T, ..., 3) of the world.

    Returns:
        Right, up and forward of the eye, (T, ...) each.
    """
    extra = (1,) * (points.ndim - 2)
    x, y, z = np.moveaxis(points - eye.reshape(len(eye), *extra, 3), -1, 0)
    a = axes.reshape(len(eye), *extra, 3, 3)
    right, up, forward = (a[..., i, 0] * x + a[..., i, 1] * y + a[..., i, 2] * z for i in range(3))
    return right, up, forward


def _unit(vectors: np.ndarray) -> np.ndarray:
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return vectors / np.sqrt(x * x + y * y + z * z)[..., None]
