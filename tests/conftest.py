"""What every test may ask for. The servers live in modules of their own, beside this file."""

pytest_plugins = ["tests.dovecot", "tests.mongodb"]
