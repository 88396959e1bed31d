import os

from hypothesis import settings

# No deadline: a busy machine is no failure. A longer search is one variable away.
settings.register_profile(
    "aec", deadline=None, max_examples=int(os.environ.get("AEC_MAX_EXAMPLES", "100"))
)
settings.load_profile("aec")
