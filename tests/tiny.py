"""Networks small enough to train in a test."""

from aec.codec.config import ModelConfig

TINY = ModelConfig(
    m=8, n_z=4, c8=6, c16=8, g_a_blocks8=1, g_a_blocks16=1, g_s_blocks16=1, g_s_blocks8=1,
    c_h=6, c_ctx=6, ctx_blocks=1, knots=3,
)  # fmt: skip
