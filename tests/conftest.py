"""What every test may ask for. The servers live in modules of their own, beside this file."""

import signal

# A shell that starts us in the background has SIGINT ignored, and whatever we start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.dovecot", "tests.mongodb", "tests.passes"]
