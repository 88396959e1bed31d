import os
import signal

from hypothesis import settings

# No deadline: a busy machine is no failure. A longer search is one variable away.
settings.register_profile(
    "aec", deadline=None, max_examples=int(os.environ.get("AEC_MAX_EXAMPLES", "100"))
)
settings.load_profile("aec")

# A run that was started in the background ignores SIGINT, one under nohup SIGHUP, and so would the
# programs that the tests start and then interrupt.
for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
