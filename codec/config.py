"""Sizes of the network, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass

#: y lives at 1/16 of the picture, z at 1/64; the picture is padded to whole z cells.
Y_STRIDE = 16
Z_STRIDE = 64
#: The trunk works at 1/8 on PixelUnshuffle(8) of the picture.
TRUNK_STRIDE = 8

#: A picture can be decoded to 1 / scale of its size.
SCALES = (1, 2, 4, 8)

#: Qualities a file can name; the public scale 0..100 maps linearly onto these.
QUALITY_LEVELS = 256

#: Equal ranges of quality indices, each with z tables of its own: low qualities have smaller z.
Z_BANDS = 4


def z_band(quality: int) -> int:
    """Which of the Z_BANDS a quality index lies in."""
    return quality * Z_BANDS // QUALITY_LEVELS


#: Spatial phase `a * 2 + b` of a 2x2 cell codes channel group `phase ^ STEP_XOR[step]`, so that
#: the second step sits on the diagonal of the first, where it learns most from it.
STEP_XOR = (0, 3, 1, 2)
GROUPS = 4


@dataclass(frozen=True)
class ModelConfig:
    """Widths and depths of every part; the defaults are those of the shipped weights."""

    m: int = 768  # channels of y
    n_z: int = 96  # channels of z
    c8: int = 192  # trunk width at 1/8
    c16: int = 384  # trunk width at 1/16
    g_a_blocks8: int = 6
    g_a_blocks16: int = 6
    g_s_blocks16: int = 7
    g_s_blocks8: int = 5
    c_h: int = 192  # width of h_a and h_s
    c_ctx: int = 256  # width of the context steps
    ctx_blocks: int = 3
    knots: int = 9  # qualities at which gains and biases are learned; linear in between

    def __post_init__(self) -> None:
        if self.m % GROUPS:
            raise ValueError(f"m must be a multiple of {GROUPS}, got {self.m}")

    def as_dict(self) -> dict[str, int]:
        """The fields by name, for the metadata of a weights file."""
        return asdict(self)


#: Scales of the coded residual: table index t means sigma = SCALE_MIN * exp(t * SCALE_STEP).
SCALE_LEVELS = 64
SCALE_MIN = 0.11
SCALE_MAX = 64.0

#: Rate-distortion trade-off R + lambda * 255^2 * MSE at quality 0 and 100, log-linear in between.
LAMBDA_MIN = 0.0005
LAMBDA_MAX = 0.20
