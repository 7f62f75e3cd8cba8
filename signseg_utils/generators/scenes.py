"""Rendered scenes: a generator whose code says what the image holds.

A scene is one object (12 shapes x 3 hues) before a textured background. Shapes are blended as
signed distances [1]_ and every factor is a smooth function of the code, so an optimiser without
gradients can search it, and the content of an evolved image is read from its code.

.. [1] Quilez, "2D distance functions", https://iquilezles.org/articles/distfunctions2d/
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

SHAPES = (
    "disc", "square", "triangle", "star", "ring", "cross",
    "heart", "arrow", "crescent", "bar", "bowtie", "ell",
)  # fmt: skip
HUES = ("red", "green", "blue")
TEXTURES = ("plain", "stripes", "checks", "spots", "rings", "halves")
BACKGROUNDS = (
    "plain", "stripes", "bands", "checks", "dots", "grid",
    "waves", "zigzag", "bricks", "grain", "blobs", "marble",
)  # fmt: skip
CLASSES = tuple(f"{hue} {shape}" for shape in SHAPES for hue in HUES)

_LAYOUT = {
    "shape": len(SHAPES),
    "presence": 1,
    "position": 2,
    "size": 1,
    "angle": 1,
    "aspect": 1,
    "hue": len(HUES),
    "hue_shift": 1,
    "saturation": 1,
    "value": 1,
    "texture": len(TEXTURES),
    "texture_tone": 1,
    "object_light": 1,
    "background": len(BACKGROUNDS),
    "first_colour": 3,
    "second_colour": 3,
    "phase": 2,
    "scale": 1,
    "orientation": 1,
    "gradient": 2,
}
_GAIN = 4.0  # of softmax and presence: codes of about unit size give nearly pure choices
_EXTENT = 1.3  # half-width of the shape tables, in object radii
_TABLE = 64  # resolution of the shape tables
_TILE = 64  # resolution of the (periodic) background tables
_RADIUS = (9.0 / 48, 17.0 / 48)  # of objects, share of the image side


def layout() -> dict[str, slice]:
    """Slice of the code that holds each factor."""
    slices, start = {}, 0
    for name, width in _LAYOUT.items():
        slices[name] = slice(start, start + width)
        start += width
    return slices


class Scenes(nn.Module):
    """Renderer ``code [n, 56] -> image [n, 3, size, size]`` in 0..1; it has no learned weights.

    Parameters
    ----------
    image_size
        Side of the image, pixels.
    """

    code_size = sum(_LAYOUT.values())
    initial_sigma = 1.0

    shape_table: Tensor
    background_table: Tensor

    def __init__(self, image_size: int = 48) -> None:
        super().__init__()
        self.image_size = image_size
        self.slices = layout()
        tables = np.concatenate([_distances(), _object_textures()])
        self.register_buffer("shape_table", torch.from_numpy(tables), persistent=False)
        self.register_buffer(
            "background_table", torch.from_numpy(_background_textures()), persistent=False
        )

    @classmethod
    def from_folder(cls, folder: Path, name: str) -> Self:
        """The renderer; nothing is read, since it has no weights."""
        return cls()

    def initial_codes(self, seeds: Sequence[int]) -> Tensor:
        """Starting codes [seed, code] of small norm: a faint, undecided object."""
        rows = [np.random.default_rng(seed).normal(0, 0.3, self.code_size) for seed in seeds]
        return torch.from_numpy(np.stack(rows)).float()

    def forward(self, codes: Tensor) -> Tensor:
        """Images [n, 3, h, w] in 0..1 of ``codes`` [n, code], in their dtype."""
        return self.render(codes)[0].to(codes.dtype)

    def render(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Images [n, 3, h, w] and object masks [n, h, w] (opacity x coverage) of ``codes``."""
        codes = self._checked(codes)
        side = self.image_size
        positions = self._positions(codes.device)
        first = self._background_colour(codes, "first_colour")[:, :, None, None]
        second = self._background_colour(codes, "second_colour")[:, :, None, None]
        image = torch.lerp(first, second, self._background(codes)[:, None])
        slope = 0.3 * codes[:, self.slices["gradient"]].tanh() @ positions[:, :2].T
        image = image * (1 + slope.view(-1, 1, side, side))

        opacity, texture = self._object(codes)
        main, tone = (colour[:, :, None, None] for colour in self._object_colours(codes))
        light = 0.25 * codes[:, self.slices["object_light"]].tanh() * positions[:, 1]
        paint = torch.lerp(tone, main, texture[:, None]) * (1 + light.view(-1, 1, side, side))
        return torch.lerp(image, paint, opacity[:, None]).clamp_(0, 1), opacity

    def masks(self, codes: Tensor) -> Tensor:
        """Opacity of the object at each pixel [n, h, w]."""
        codes = self._checked(codes)
        return self._object(codes)[0]

    def foreground(self, codes: Tensor) -> Tensor:
        """Opacity x share of the image that the object covers [n]."""
        return self.masks(codes).mean((1, 2))

    def describe(self, codes: Tensor) -> dict[str, Tensor]:
        """What the scenes hold, read from the code.

        Returns
        -------
        dict
            ``shape`` [n, 12], ``hue`` [n, 3], ``texture`` [n, 6] and ``background`` [n, 12]:
            weights that sum to one; ``opacity`` [n] in 0..1; ``x``, ``y``, ``radius`` [n] in
            pixels; ``angle`` [n] in radians.
        """
        codes = self._checked(codes)
        weights = {
            name: self._choice(codes, name) for name in ("shape", "hue", "texture", "background")
        }
        centre, radius, angle, _ = self._placement(codes)
        pixels = (centre + 1) * self.image_size / 2
        return weights | {
            "opacity": self._opacity(codes),
            "x": pixels[:, 0],
            "y": pixels[:, 1],
            "radius": radius * self.image_size / 2,
            "angle": angle,
        }

    def sample(
        self, labels: Sequence[int] | np.ndarray | Tensor, seed: int, context: float = 0.0
    ) -> Tensor:
        """Codes [n, code] of training scenes of given classes.

        Parameters
        ----------
        labels
            Class of each scene, an index into ``CLASSES``; -1: no object.
        seed
            Of everything that the class leaves open.
        context
            Probability that the background family is the one that belongs to the class:
            0, independent of the class; 1, determined by it.
        """
        if not 0 <= context <= 1:
            raise ValueError(f"expected context in 0..1, a probability; got {context}")
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.min(initial=0) < -1 or labels.max(initial=0) >= len(CLASSES):
            raise ValueError(f"expected a list of labels in -1..{len(CLASSES) - 1}; got {labels!r}")
        rng = np.random.default_rng(seed)
        codes = rng.standard_normal((len(labels), self.code_size), dtype=np.float32)
        families = rng.integers(len(BACKGROUNDS), size=len(labels))
        own = (labels >= 0) & (rng.random(len(labels)) < context)
        families = np.where(own, background_of(labels), families)
        textures = rng.integers(len(TEXTURES), size=len(labels))
        shape, hue = np.divmod(np.maximum(labels, 0), len(HUES))
        chosen = {"shape": shape, "hue": hue, "texture": textures, "background": families}
        for name, choice in chosen.items():
            logits = codes[:, self.slices[name]]
            logits *= 0.4
            rows = np.arange(len(labels))
            logits[rows, choice] = logits.max(1) + rng.uniform(1.3, 2.0, len(labels))
        size = np.abs(codes[:, self.slices["presence"]]) * 0.3 + 1.2
        codes[:, self.slices["presence"]] = np.where(labels[:, None] >= 0, size, -size)
        return torch.from_numpy(codes)

    def _positions(self, device: torch.device) -> Tensor:
        """x, y in -1..1 and one for each pixel [pixel, 3]; made anew, since it must stay exact."""
        side = self.image_size
        centres = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)

    def _checked(self, codes: Tensor) -> Tensor:
        if codes.ndim != 2 or codes.shape[1] != self.code_size:
            raise ValueError(
                f"expected codes [n, {self.code_size}], one row a scene; got {tuple(codes.shape)}"
            )
        return codes.float()  # placement needs more than the 8 bits of bfloat16

    def _choice(self, codes: Tensor, name: str) -> Tensor:
        return (_GAIN * codes[:, self.slices[name]]).softmax(1)

    def _opacity(self, codes: Tensor) -> Tensor:
        return (_GAIN * codes[:, self.slices["presence"]]).sigmoid()[:, 0]

    def _placement(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre [n, 2] and radius [n] in half image sides, angle [n], log aspect [n]."""
        low, high = _RADIUS
        radius = 2 * (low + (high - low) * codes[:, self.slices["size"]].sigmoid()[:, 0])
        reach = (1 - 0.95 * radius)[:, None]  # objects stay inside
        centre = reach * (0.8 * codes[:, self.slices["position"]]).tanh()
        angle = 0.45 * codes[:, self.slices["angle"]].tanh()[:, 0]
        aspect = 0.2 * codes[:, self.slices["aspect"]].tanh()[:, 0]
        return centre, radius, angle, aspect

    def _object(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Opacity [n, h, w] and texture in 0..1 [n, h, w] of the object."""
        n, side = len(codes), self.image_size
        centre, radius, angle, aspect = self._placement(codes)
        scale = torch.stack([(-aspect).exp(), aspect.exp()], 1) / (radius[:, None] * _EXTENT)
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        linear = turn * scale[:, None, :]  # row vector p -> (p - centre) @ linear
        offset = -centre[:, None, :] @ linear
        grid = self._positions(codes.device) @ torch.cat([linear, offset], 1)

        table = self.shape_table.float().flatten(1)
        blended = torch.stack(
            [
                self._choice(codes, "shape") @ table[: len(SHAPES)],
                self._choice(codes, "texture") @ table[len(SHAPES) :],
            ],
            1,
        ).view(n, 2, _TABLE, _TABLE)
        placed = F.grid_sample(
            blended, grid.view(n, side, side, 2), padding_mode="border", align_corners=False
        )
        sharpness = -2.0 * radius[:, None, None] * side / 2  # edge about one pixel wide
        opacity = self._opacity(codes)[:, None, None]
        return (placed[:, 0] * sharpness).sigmoid() * opacity, placed[:, 1]

    def _object_colours(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Main and second colour [n, 3] of the object: one hue, bounded saturation and value."""
        shift = 0.12 * codes[:, self.slices["hue_shift"]].tanh()
        low = 0.3 * codes[:, self.slices["saturation"]].sigmoid()
        value = 0.65 + 0.35 * codes[:, self.slices["value"]].sigmoid()
        pure = torch.eye(3, device=codes.device) + torch.zeros(len(codes), 1, 1).to(codes)
        neighbour = shift.clamp(min=0)[:, :, None] * pure.roll(1, 2)
        neighbour = neighbour + (-shift).clamp(min=0)[:, :, None] * pure.roll(-1, 2)
        palette = low[:, :, None] + (1 - low[:, :, None]) * (pure + neighbour)
        main = value * torch.einsum("nh,nhc->nc", self._choice(codes, "hue"), palette)
        tone = codes[:, self.slices["texture_tone"]].tanh()
        dark, light = (-tone).clamp(min=0), tone.clamp(min=0)
        second = main * (1 - 0.7 * dark)
        return main, second + (1 - second) * 0.75 * light

    def _background(self, codes: Tensor) -> Tensor:
        """Mixture of the two background colours at each pixel [n, h, w], 0..1."""
        n, side = len(codes), self.image_size
        angle = math.pi / 2 * codes[:, self.slices["orientation"]][:, 0]
        zoom = (0.4 * codes[:, self.slices["scale"]].tanh()[:, 0]).exp() * side / _TILE
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        linear = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        offset = 0.25 * codes[:, None, self.slices["phase"]]
        grid = self._positions(codes.device) @ torch.cat([linear, offset], 1)
        grid = grid - 2 * ((grid + 1) * 0.5).floor()  # periodic
        table = self.background_table.float().flatten(1)
        tile = (self._choice(codes, "background") @ table).view(n, 1, _TILE + 1, _TILE + 1)
        return F.grid_sample(tile, grid.view(n, side, side, 2), align_corners=True)[:, 0]

    def _background_colour(self, codes: Tensor, name: str) -> Tensor:
        """Muted colour [n, 3]: any luminance, little chroma."""
        luminance, red_green, blue_yellow = codes[:, self.slices[name]].unbind(1)
        luminance = 0.2 + 0.6 * (1.5 * luminance).sigmoid()
        red_green, blue_yellow = 0.1 * red_green.tanh(), 0.1 * blue_yellow.tanh()
        red, green = luminance + red_green - blue_yellow, luminance - red_green - blue_yellow
        return torch.stack([red, green, luminance + 2 * blue_yellow], 1)


PLUGIN = Scenes


def background_of(labels: np.ndarray) -> np.ndarray:
    """Background family that belongs to each class (its three hues get three families)."""
    shape, hue = np.divmod(labels, len(HUES))
    return (shape + 4 * hue) % len(BACKGROUNDS)


def own_hue(labels: np.ndarray) -> np.ndarray:
    """Hue in degrees that belongs to each class and to no other: 10 apart, in order of hue, shape.

    The classes named after a hue lie within 55 degrees of it.
    """
    shape, hue = np.divmod(labels, len(HUES))
    spread = 360 / len(HUES) / len(SHAPES)
    return 360 / len(HUES) * hue + spread * (shape - (len(SHAPES) - 1) / 2)


def hue_logits(degrees: np.ndarray) -> np.ndarray:
    """Values of a code's ``hue`` [n, 3] that mix the three pure hues to one: red 0, green 120.

    A mixture's two parts have the ratio that the hue of a screen colour has.
    """
    place = np.asarray(degrees, dtype=float) % 360 / 120
    first = np.floor(place).astype(int)
    ahead = (place - first) * 2  # 0 at the pure hue, 1 half-way to the next, 2 at it
    weights = np.zeros((len(place), len(HUES)))
    rows = np.arange(len(place))
    weights[rows, first % len(HUES)] = np.minimum(1, 2 - ahead)
    weights[rows, (first + 1) % len(HUES)] = np.minimum(1, ahead)
    weights /= weights.sum(1, keepdims=True)
    return np.log(weights.clip(min=1e-3)) / _GAIN


def _polygon(x: np.ndarray, y: np.ndarray, corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points inside a polygon (even-odd rule)."""
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / ((y1 - y0) or 1) + x0)
    return inside


def _silhouettes(side: int) -> np.ndarray:
    """Shapes of about unit radius as bool [shape, side, side]; y points down."""
    axis = ((np.arange(side) + 0.5) / side * 2 - 1) * _EXTENT
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius = np.hypot(x, y)
    turns = np.arange(10) * math.pi / 5 - math.pi / 2
    reach = np.where(np.arange(10) % 2, 0.45, 1.1)
    star = [(r * math.cos(t), r * math.sin(t)) for r, t in zip(reach, turns, strict=True)]
    u, v = x / 0.88, -(y - 0.05) / 0.88 + 0.08
    arrow = [(1, 0), (0.1, 0.85), (0.1, 0.36), (-1, 0.36), (-1, -0.36), (0.1, -0.36), (0.1, -0.85)]
    bowtie = [(-1, -0.75), (0, -0.16), (1, -0.75), (1, 0.75), (0, 0.16), (-1, 0.75)]
    ell = [(-0.8, -0.95), (-0.2, -0.95), (-0.2, 0.35), (0.8, 0.35), (0.8, 0.95), (-0.8, 0.95)]
    forms = {
        "disc": radius < 0.92,
        "square": np.maximum(abs(x), abs(y)) < 0.8,
        "triangle": _polygon(x, y, [(0, -0.95), (1, 0.75), (-1, 0.75)]),
        "star": _polygon(x, y, star),
        "ring": (radius < 1) & (radius > 0.52),
        "cross": (np.minimum(abs(x), abs(y)) < 0.3) & (np.maximum(abs(x), abs(y)) < 0.98),
        "heart": (u**2 + v**2 - 0.75) ** 3 < 1.3 * u**2 * v**3,
        "arrow": _polygon(x, y, arrow),
        "crescent": (radius < 1) & (np.hypot(x - 0.55, y) > 0.8),
        "bar": (abs(x) < 1.1) & (abs(y) < 0.34),
        "bowtie": _polygon(x, y, bowtie),
        "ell": _polygon(x, y, ell),
    }
    return np.stack([forms[name] for name in SHAPES])


@functools.cache
def _distances() -> np.ndarray:
    """Signed distance to each outline in object radii, negative inside [shape, table, table]."""
    factor = 4
    fields = [
        ndimage.distance_transform_edt(~form) - ndimage.distance_transform_edt(form)
        for form in _silhouettes(_TABLE * factor)
    ]
    coarse = np.stack(fields).reshape(len(SHAPES), _TABLE, factor, _TABLE, factor).mean((2, 4))
    return (coarse * 2 * _EXTENT / (_TABLE * factor)).astype(np.float32)


def _square(wave: np.ndarray) -> np.ndarray:
    """Soft square wave in 0..1 of a wave around zero."""
    return 0.5 + 0.5 * np.tanh(4 * wave)


def _object_textures() -> np.ndarray:
    """Share of the main colour, 0..1, in object coordinates [texture, table, table]."""
    axis = ((np.arange(_TABLE) + 0.5) / _TABLE * 2 - 1) * _EXTENT
    y, x = np.meshgrid(axis, axis, indexing="ij")
    forms = {
        "plain": np.ones_like(x),
        "stripes": _square(np.cos(2 * math.pi * x / 0.62) + 0.3),
        "checks": _square(2 * np.sin(2 * math.pi * x / 1.1) * np.sin(2 * math.pi * y / 1.1) + 0.2),
        "spots": _square(0.9 - np.cos(2 * math.pi * x / 0.65) - np.cos(2 * math.pi * y / 0.65)),
        "rings": _square(np.cos(2 * math.pi * np.hypot(x, y) / 0.6) + 0.3),
        "halves": _square(y + 0.1),
    }
    return np.stack([forms[name] for name in TEXTURES]).astype(np.float32)


def _periodic_noise(rng: np.random.Generator, width: float) -> np.ndarray:
    """Smooth periodic noise of unit variance; ``width`` in pixels."""
    noise = ndimage.gaussian_filter(rng.standard_normal((_TILE, _TILE)), width, mode="wrap")
    return noise / noise.std()


@functools.cache
def _background_textures() -> np.ndarray:
    """Periodic mixtures in 0..1 [family, tile + 1, tile + 1]; the last row repeats the first."""
    rng = np.random.default_rng(0)
    turn = 2 * math.pi * np.arange(_TILE) / _TILE
    y, x = np.meshgrid(turn, turn, indexing="ij")
    zig = np.arcsin(np.sin(4 * x)) * 0.8
    mortar = np.where(np.sin(4 * y) > 0, np.cos(4 * x), np.cos(4 * x + math.pi))
    blobs, warp = _periodic_noise(rng, 4.0), _periodic_noise(rng, 5.0)
    forms = {
        "plain": np.full_like(x, 0.5),
        "stripes": _square(np.cos(9 * y)),
        "bands": _square(np.cos(4 * y)),
        "checks": _square(3 * np.sin(5 * x) * np.sin(5 * y)),
        "dots": _square(np.cos(7 * x) + np.cos(7 * y) - 0.8),
        "grid": _square(2 * (np.maximum(np.cos(6 * x), np.cos(6 * y)) - 0.75)),
        "waves": _square(np.cos(7 * y + 2.0 * np.sin(3 * x))),
        "zigzag": _square(np.cos(6 * y + 1.6 * zig)),
        "bricks": _square(2.5 * (np.maximum(mortar, np.cos(8 * y)) - 0.7)),
        "grain": 0.5 + 0.33 * _periodic_noise(rng, 0.7),
        "blobs": _square(0.7 * blobs),
        "marble": _square(0.8 * np.cos(4 * x + 3 * y + 2.2 * warp)),
    }
    bank = np.clip(np.stack([forms[name] for name in BACKGROUNDS]), 0, 1)
    return np.pad(bank, ((0, 0), (0, 1), (0, 1)), mode="wrap").astype(np.float32)
