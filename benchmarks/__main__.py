"""``python -m benchmarks``: the compiled core against NumPy and the chosen peers."""

import sys

from .command_line import main

if __name__ == "__main__":
    sys.exit(main())
