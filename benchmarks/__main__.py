"""``python -m benchmarks --out DIR``: all tables and plots of docs/performance.md."""

import sys

from seqcore.bench.everything import main

if __name__ == "__main__":
    sys.exit(main())
