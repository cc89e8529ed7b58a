"""`python -m ingestd`, and the `ingestd` command."""

import gc
import sys

FEWER = 200_000, 20, 50  # objects between two searches for garbage, and how often to look at the older ones


def main() -> int:
    """Run the command line and return its exit code."""
    # Modules are made of objects by the ten thousand, none of them garbage: to search them is a fifth of a start.
    gc.set_threshold(*FEWER)
    from .cli.app import main as run

    code = run()
    gc.freeze()  # nor is there anything to be found at the end
    return code


if __name__ == "__main__":
    sys.exit(main())
