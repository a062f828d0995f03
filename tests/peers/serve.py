#!/usr/bin/env python3
"""One peer in a process of its own: serve.py PEER CASE, driven by lines of JSON on stdin.

    -> {"ready": {...differences from cellc...}, "first_call": seconds}
    <- {"seconds": 3, "least": 3}
    -> {"times": [1.91, 1.88, 1.93]}

It ends when stdin does. A peer that differs from cellc, or cannot run here, says {"failed": "why"}."""

import json
import os
import sys
import time

import common

answers = sys.stdout


def say(**what):
    answers.write(json.dumps(what) + "\n")


def keep_answers_apart():
    """what the peer itself prints goes to stderr"""
    global answers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)


class Update:
    """a peer of common.py's kind"""

    def __init__(self, case, peer):
        self.case, self.peer = case, peer

    def check(self):
        # A relu within a rounding of 0 has the one derivative here and the other there: one sample of a
        # batch, and a hundredth of one unit's gradient. Such a batch proves nothing about the rest, so
        # another is drawn; at the published widths every second one is such. Five in a row are a difference.
        for seed in range(1, 6):
            try:
                return dict(common.check(self.case, self.peer, seed), batch=seed)
            except common.Differs as e:
                if seed == 5:
                    raise
                print(f"batch {seed}: {e}", file=sys.stderr)

    def run(self):
        self.peer.update()


class Drawn(Update):
    """A network that nobody chose may saturate or cancel until float32 has no digits left in a gradient.
    That the translation is the same function is shown in float64, against the interpreter; of the float32
    function that is timed, the values are compared."""

    def __init__(self, case, peer, exact):
        super().__init__(case, peer)
        self.exact = exact

    def check(self):
        differences = common.check(self.case, self.exact, backend="interp", values=1e-6, gradients=1e-6)
        single = common.check(self.case, self.peer, values=1e-3, gradients=float("inf"))
        return dict(differences, values_in_float32=single["values"])


class Product:
    """sgemm, 1024 cubed: what the run is measured in"""

    N = 1024

    def __init__(self, library):
        import numpy as np

        if library == "torch":
            import torch

            torch.set_num_threads(THREADS)
            a, b = torch.rand(self.N, self.N), torch.rand(self.N, self.N)
            out = torch.empty(self.N, self.N)
            self.run = lambda: torch.mm(a, b, out=out)
        else:
            rng = np.random.default_rng(0)
            a, b = (rng.random((self.N, self.N), dtype=np.float32) for _ in range(2))
            out = np.empty_like(a)
            self.run = lambda: np.matmul(a, b, out=out)

    def check(self):
        return {}


class MinAtar:
    """1,000 random steps of the package, with observation and reset"""

    STEPS = 1000

    def __init__(self, game):
        import numpy as np
        from minatar import Environment

        self.env = Environment(game)
        self.env.seed(1)
        self.env.reset()
        self.actions = np.random.default_rng(0).integers(self.env.num_actions(), size=self.STEPS).tolist()

    def check(self):
        return {}

    def run(self):
        env = self.env
        for action in self.actions:
            _, done = env.act(action)
            env.state()
            if done:
                env.reset()


def make(name, case):
    if name.startswith("sgemm-"):
        return Product(name[6:])
    if name.startswith("minatar-"):
        return MinAtar(name[8:])
    if name.startswith("jax-"):
        import arq_jax

        if name == "jax-act":
            return arq_jax.Act(case)
        kinds = {"jax-plain": lambda: arq_jax.Plain(case), "jax-hand": lambda: arq_jax.Hand(case),
                 "jax-chunks": lambda: arq_jax.Hand(case, chunk=8)}
        return Update(case, kinds[name]())
    import torch

    torch.set_num_threads(THREADS)
    if name.startswith("drawn-"):
        import graph_torch

        return Drawn(case, graph_torch.Graph(case, name == "drawn-compile"),
                     graph_torch.Graph(case, False, double=True))
    import arq_torch
    import cells_torch

    kind, _, how = name.rpartition("-")
    cls = {"torch": arq_torch.Hand, "softmax": cells_torch.Softmax, "gated": cells_torch.Gated}[kind]
    return Update(case, cls(case, how == "compile"))


THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


def main():
    keep_answers_apart()
    name, case = sys.argv[1], common.Case.of(sys.argv[2]) if len(sys.argv) > 2 else None
    before = time.perf_counter()
    try:
        peer = make(name, case)
        differences = peer.check()
        first = time.perf_counter() - before
        peer.run()
    except Exception as e:  # noqa: BLE001 - whatever it is, the table says it
        import traceback

        traceback.print_exc()
        say(failed=f"{type(e).__name__}: {e}")
        return 1
    say(ready=differences, first_call=first)
    for line in sys.stdin:
        order = json.loads(line)
        times = []
        end = time.perf_counter() + order["seconds"]
        while len(times) < order["least"] or time.perf_counter() < end:
            start = time.perf_counter()
            peer.run()
            times.append(time.perf_counter() - start)
        say(times=times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
