"""``python -m benchmarks``: one kind of measurement after the other; options as of ``seqcore bench``."""

import sys

from seqcore.cli import main

if __name__ == "__main__":
    kinds = [["--what", kind] for kind in ("recurrent", "stream", "ptb")]
    if {"-h", "--help", "--what"} & {word.partition("=")[0] for word in sys.argv[1:]}:
        kinds = [[]]
    elif {"--json", "--plot", "--cases"} & {word.partition("=")[0] for word in sys.argv[1:]}:
        sys.exit("benchmarks: --cases, --json and --plot belong to one kind: add --what recurrent, stream or ptb")
    for kind in kinds:
        if status := main(["bench", *kind, *sys.argv[1:]]):
            sys.exit(status)
