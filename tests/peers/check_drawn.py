#!/usr/bin/env python3
"""check_drawn.py FIRST LAST: drawn networks against PyTorch. Each number's network is translated from the text of
`cellc emit --stage ir` into PyTorch, which finds its own derivatives, in float64; one update of it is compared
with the interpreter to 1e-6 and, of the values in float32, with the CPU's to 1e-3. Prints a line a network.
CELLC names another cellc than build/cellc."""

import sys
import tempfile

import common
import compare
import graph_torch
import serve


def main():
    if len(sys.argv) != 3 or not all(a.isdigit() for a in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    good = refused = bad = 0
    with tempfile.TemporaryDirectory(prefix="cellc-drawn-") as folder:
        for seed in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
            case = compare.draw(folder, seed)
            try:
                common.info(case)
            except RuntimeError as e:
                refused += 1
                print(f"{seed}: refused: {str(e).splitlines()[0]}", flush=True)
                continue
            try:
                peer = serve.Drawn(case, graph_torch.Graph(case, False), graph_torch.Graph(case, False, double=True))
                print(f"{seed}: {peer.check()}", flush=True)
                good += 1
            except Exception as e:  # noqa: BLE001 - whatever it is, the line says it
                bad += 1
                print(f"{seed}: DIFFERS: {type(e).__name__}: {e}", flush=True)
    print(f"{good} agree, {refused} refused, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
