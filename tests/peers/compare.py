#!/usr/bin/env python3
"""cellc beside other programs, measured in one run: compare.py [--only NAME,...] [--quick] [--json FILE]

Every row is one measure. Where two programs are compared they run by turns, each in a process of its
own, the others stopped meanwhile; a figure is the median over all turns. Peers compute one update on
cellc's tensors first and are refused if a number differs. The rate of sgemm, the best of three libraries, is
taken in every turn: seconds times that rate tell whether a peer is as good here as elsewhere.

Peers need what tests/peers/install.sh installs; run this with that Python. CELLC names another cellc
than build/cellc."""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile

import common
from common import Case, cellc

HERE = os.path.dirname(os.path.abspath(__file__))
# glibc gives large blocks back to the system and takes them again, page by page, zeroed: more than half of
# the time of a program that makes matrices of a gigabyte. Kept memory is best for those, not for small ones.
KEPT = ("glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776:"
        "glibc.malloc.arena_max=1:glibc.malloc.top_pad=67108864")


def log(*words):
    print(*words, file=sys.stderr, flush=True)


# ---- peers ----


class Failed(Exception):
    pass


class Peer:
    """a process of serve.py that is stopped while it has nothing to do"""

    def __init__(self, run, name, case=None):
        log(f"  {name}: starts")
        env = dict(os.environ, OMP_NUM_THREADS=str(run.threads), CELLC=common.CELLC)
        # settings for old OpenBLAS builds slow the current one that NumPy brings
        for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
            env.pop(variable, None)
        env["OPENBLAS_NUM_THREADS"] = env["MKL_NUM_THREADS"] = str(run.threads)
        env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=true".strip()
        if run.memory == "kept":
            env["GLIBC_TUNABLES"] = KEPT
        self.name, self.times = name, []
        self.log = open(os.path.join(run.folder, f"{name}.log"), "w+")
        words = [sys.executable, os.path.join(HERE, "serve.py"), name] + ([case.text()] if case else [])
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, env=env)
        answer = self.answer()
        self.check, self.first_call = answer["ready"], answer["first_call"]
        log(f"  {name}: ready after {self.first_call:.1f} s, {self.check}")
        self.stop()

    def answer(self):
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {}
        if "failed" in answer or not answer:
            self.log.seek(0)
            raise Failed(f"{self.name}: {answer.get('failed') or self.log.read()[-2000:] or 'it died'}")
        return answer

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def measure(self, seconds, least):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps({"seconds": seconds, "least": least}) + "\n")
        self.process.stdin.flush()
        self.times += self.answer()["times"]
        self.stop()

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


class Run:
    """what rows share: options, how often to measure, the rates of sgemm"""

    def __init__(self, options):
        self.quick, self.memory, self.threads = options.quick, options.memory, options.threads
        self.rounds, self.seconds = (2, 1.0) if options.quick else (5, 3.0)
        self.date = options.seed or int(datetime.date.today().strftime("%Y%m%d"))
        self.folder = options.logs or tempfile.mkdtemp(prefix="cellc-peers-")
        os.makedirs(self.folder, exist_ok=True)
        self.rates = {}

    def sgemm(self, peers):
        """one turn of each library; GFLOP/s"""
        bench = json.loads(cellc("bench", "sgemm", "--threads", str(self.threads), "--json"))
        self.rates.setdefault("openblas", []).append(bench["sgemm_flops"] / 1e9)
        for name, peer in peers.items():
            before = len(peer.times)
            peer.measure(0.3, 3)
            rate = 2 * 1024**3 / statistics.median(peer.times[before:]) / 1e9
            self.rates.setdefault(name, []).append(rate)

    def rate(self):
        return max((statistics.median(r) for r in self.rates.values()), default=0.0)


def bench(run, words, *more):
    return json.loads(cellc("bench", *words, "--threads", str(run.threads), *more, "--json"))


def products(run):
    """processes that multiply with the libraries of NumPy and PyTorch; those that start"""
    out = {}
    for name in ("sgemm-numpy", "sgemm-torch"):
        try:
            out[name[6:]] = Peer(run, name)
        except Failed as e:
            log(f"  {e}")
    return out


def race(run, program, case, names, seconds=None, ours=None):
    """Medians in seconds, ours and each peer's, by turns; a peer that fails is None, with the reason."""
    seconds = seconds or run.seconds
    peers, failures, mine, rates = {}, {}, [], products(run)
    try:
        for name in names:
            try:
                peers[name] = Peer(run, name, case)
            except Failed as e:
                failures[name] = str(e)
                log(f"  {e}")
        ours = ours or (lambda: bench(run, [program, *case.arguments()], "--seconds", str(seconds),
                                      "--warm-up", "0.3")["seconds"]["median"])
        if program:
            ours()  # the first of a network compiles it
        # a median of few is one of the fastest of a machine that someone else uses too
        for turn in range(run.rounds):
            log(f"  turn {turn + 1} of {run.rounds}")
            run.sgemm(rates)
            mine.append(ours())
            for peer in peers.values():
                peer.measure(seconds, 1 if run.quick else 3)
        return {"ours": statistics.median(mine),
                "peers": {n: statistics.median(p.times) for n, p in peers.items()},
                "differences": {n: p.check for n, p in peers.items()},
                "first_call": {n: p.first_call for n, p in peers.items()}, "failed": failures}
    finally:
        for peer in [*peers.values(), *rates.values()]:
            peer.close()


# ---- cases ----


BREAKOUT, SEAQUEST_SHAPES = ("10x10x4:bits", 3, "minatar/breakout"), ("10x10x10:bits", 6, "minatar/seaquest")


def arq(widths, batch, shapes=BREAKOUT):
    sets = tuple(f"l{i + 1}.n={n}" for i, n in enumerate(widths)) + (f"train.batch={batch}",)
    return Case("examples/arq.cell", *shapes[:2], list(widths), batch, settings=sets, env=shapes[2])


PUBLISHED, SEAQUEST = arq((400, 200, 200), 512), arq((400, 200, 200), 512, SEAQUEST_SHAPES)
MIDDLE, SMALL = arq((128, 96, 96), 512), arq((64, 48, 48), 64)
GATED = Case("examples/gated.cell", *BREAKOUT[:2], [256, 256], 512, env=BREAKOUT[2])
SOFTMAX = Case("tests/peers/softmax.cell", *BREAKOUT[:2], [256, 256], 512, env=BREAKOUT[2])


def draw(folder, seed):
    """the random generator's network of a number: its file, and the shapes that it is for"""
    program = os.path.join(os.path.dirname(common.CELLC), "tests", "draw_cell")
    if not os.path.exists(program):
        raise Failed(f"{program} is not built (ninja -C build draw_cell)")
    text = subprocess.run([program, str(seed)], capture_output=True, text=True, check=True).stdout
    path = os.path.join(folder, f"drawn-{seed}.cell")
    with open(path, "w") as file:
        file.write(text)
    shape, actions = re.search(r"^# --obs (\S+) --actions (\S+)", text).groups()
    # a network without memory has no context; where it has one, the text says how long
    context, lr = re.search(r"context = (\d+)", text), re.search(r"lr = ([\d.e-]+)", text)
    return Case(path, shape, int(actions.split(":")[0]), [], 512, action_code=actions,
                context=int(context.group(1)) if context else 1, lr=float(lr.group(1)),
                settings=("train.batch=512",))


def drawn(run):
    """The network of the date. A text may be refused (because no gradient reaches a parameter, say): then it is
    the next number's."""
    for seed in range(run.date, run.date + 5):
        case = draw(run.folder, seed)
        try:
            common.info(case)
            return case
        except RuntimeError as e:
            log(f"  {seed} is refused: {str(e).splitlines()[0]}")
    raise Failed("the checker refuses five drawn networks in a row")


# ---- rows ----


def ratio_row(run, program, case, names, sort=min):
    """peer over ours; of several peers the better one"""
    r = race(run, program, case, names)
    if not r["peers"]:
        raise Failed("; ".join(r["failed"].values()))
    name, theirs = sort(r["peers"].items(), key=lambda item: item[1])
    rate = run.rate()
    r.update(better=name, sgemm_gflops=rate, ours_gflop=rate * r["ours"],
             peers_gflop={n: rate * t for n, t in r["peers"].items()})
    return theirs / r["ours"], r


HAND = ["jax-hand", "torch-compile", "torch-eager"]


def plain_breakout(run):
    return ratio_row(run, "update", PUBLISHED, ["jax-plain"])


def hand_breakout(run):
    return ratio_row(run, "update", PUBLISHED, HAND)


def chunks_breakout(run):
    return ratio_row(run, "update", PUBLISHED, ["jax-chunks"])


def plain_seaquest(run):
    return ratio_row(run, "update", SEAQUEST, ["jax-plain"])


def hand_middle(run):
    return ratio_row(run, "update", MIDDLE, HAND)


def hand_small(run):
    return ratio_row(run, "update", SMALL, HAND)


def gated(run):
    return ratio_row(run, "update", GATED, ["gated-compile"])


def softmax(run):
    return ratio_row(run, "update", SOFTMAX, ["softmax-compile"])


def drawn_cell(run):
    case = drawn(run)
    value, numbers = ratio_row(run, "update", case, ["drawn-compile"])
    return value, dict(numbers, file=case.file)


def act(run):
    return ratio_row(run, "act", PUBLISHED, ["jax-act"])


def roofline(case):
    def row(run):
        c = case(run) if callable(case) else case
        shares, last = [], None
        for _ in range(run.rounds):
            last = bench(run, ["update", *c.arguments()], "--seconds", str(run.seconds))
            shares.append(last["roofline"]["share"])
        return statistics.median(shares), {"shares": shares, "roofline": last["roofline"]}
    return row


def threads(run):
    """T1 / T2 of the update, over the same ratio of sgemm and a copy"""
    one, two, scales = [], [], []
    for _ in range(run.rounds):
        for count, times in ((1, one), (2, two)):
            out = cellc("bench", "update", *PUBLISHED.arguments(), "--threads", str(count), "--seconds",
                        str(run.seconds), "--json")
            times.append(json.loads(out)["seconds"]["median"])
        scales.append(json.loads(cellc("bench", "sgemm", "--threads", "2", "--json"))["scaling"]["speedup"])
    update, machine = statistics.median(one) / statistics.median(two), statistics.median(scales)
    return update / machine, {"one_thread": statistics.median(one), "two_threads": statistics.median(two),
                              "speedup": update, "sgemm_and_copy_speedup": machine}


def environment(game):
    def row(run):
        steps = 1000

        def ours():
            out = cellc("bench", "env", f"minatar/{game}", "--seconds", str(run.seconds / 3), "--json")
            return steps / json.loads(out)["steps_per_second"]

        r = race(run, None, None, [f"minatar-{game}"], run.seconds / 3, ours)
        if not r["peers"]:
            raise Failed("; ".join(r["failed"].values()))
        theirs = next(iter(r["peers"].values()))
        return theirs / r["ours"], {"ours_steps_per_second": steps / r["ours"],
                                    "package_steps_per_second": steps / theirs}
    return row


def compiling(which):
    def row(run):
        out = cellc("bench", "compile", *SMALL.arguments(), "--repeat", "3" if run.quick else "7",
                    "--threads", str(run.threads), "--json")
        report = json.loads(out)
        return report[which]["total"], report[which]
    return row


def replay_bytes(run):
    info = json.loads(cellc("info", "examples/arq.cell", "--env", "minatar/breakout", "--no-measure",
                            "--set", "train.replay=5e6", "--json", cwd=common.ROOT))
    return info["memory"]["replay"] / 5e6, {"bytes": info["memory"]["replay"], "transitions": 5e6}


def whole_run(run):
    steps = (4000, 5000) if run.quick else (40000, 50000)
    out = cellc("bench", "run", *arq((128, 96, 96), 128).arguments(), "--steps", str(steps[0]),
                "--warm-up-steps", str(steps[1]), "--threads", str(run.threads), "--json")
    report = json.loads(out)
    return report["hours"], report


@dataclasses.dataclass
class Row:
    name: str
    measure: str
    must: float
    aim: float
    run: object
    unit: str = ""  # "": a ratio
    low: bool = False  # less is better


GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
ROWS = [
    Row("plain", "published widths, Breakout: plain JAX / ours", 15, 20, plain_breakout),
    Row("hand", "published widths, Breakout: better hand-optimised / ours", 5.5, 7.5, hand_breakout),
    Row("seaquest", "Seaquest shapes: plain JAX / ours", 20, 30, plain_seaquest),
    Row("middle", "128, 96, 96, batch 512: better hand-optimised / ours", 5, 7, hand_middle),
    Row("small", "64, 48, 48, batch 64: better hand-optimised / ours", 5, 7, hand_small),
    Row("gated", "gated cells, 256, 256, batch 512: torch.compile / ours", 2, 4, gated),
    Row("softmax", "softmax cells, 256, 256, batch 512: torch.compile / ours", 2, 4, softmax),
    Row("drawn", "a drawn network, batch 512: torch.compile / ours", 2, 4, drawn_cell),
    Row("roofline", "share of its roofline, ARQ's update", 0.6, 0.75, roofline(PUBLISHED)),
    Row("roofline-gated", "share of its roofline, gated cells", 0.5, 0.65, roofline(GATED)),
    Row("roofline-softmax", "share of its roofline, softmax cells", 0.5, 0.65, roofline(SOFTMAX)),
    Row("roofline-drawn", "share of its roofline, the drawn network", 0.5, 0.65, roofline(drawn)),
    Row("threads", "2 threads against 1, over the same of sgemm and a copy", 0.93, 0.98, threads),
    Row("act", "act, one environment, published widths: JAX / ours", 2, 3, act),
    *[Row(f"env-{g}", f"MinAtar {g}, steps a second and core: ours / the package", 100, 300,
          environment(g)) for g in GAMES],
    Row("cold", "cold .cell to first update, 64, 48, 48", 0.7, 0.3, compiling("cold"), "s", True),
    Row("warm", "warm .cell to first update, 64, 48, 48", 0.1, 0.05, compiling("warm"), "s", True),
    Row("replay", "replay, a transition of Breakout", 64, 56, replay_bytes, "bytes", True),
    Row("run", "a run of 4M steps, 128, 96, 96, batch 128", 6, 4.5, whole_run, "hours", True),
    # a peer of no row: what one gains who writes the backward pass and cuts the batch by hand
    Row("chunks", "published widths: JAX, cut into chunks by hand / ours", 0, 0, chunks_breakout),
]


# ---- the table ----


def raw(numbers):
    """the two sides, in a few words"""
    if "peers" in numbers:
        unit = lambda s: f"{s * 1e3:.3g} ms" if s < 0.1 else f"{s:.3g} s"
        sides = [f"ours {unit(numbers['ours'])}"]
        for name, seconds in numbers["peers"].items():
            sides.append(f"{name} {unit(seconds)} = {numbers['peers_gflop'][name]:.3g} GFLOP")
        return "; ".join(sides + [f"{n} failed" for n in numbers["failed"]])
    plain = {k: v for k, v in numbers.items() if isinstance(v, (int, float))}
    return ", ".join(f"{k} {v:.4g}" for k, v in plain.items())


def verdict(row, value):
    if not row.must:
        return ""
    reaches = (lambda bound: value <= bound) if row.low else (lambda bound: value >= bound)
    return "aim" if reaches(row.aim) else "must" if reaches(row.must) else "missed"


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return re.search(r"model name\s*: (.*)", file.read()).group(1)
    except (OSError, AttributeError):
        return platform.processor()


def main():
    names = ", ".join(r.name for r in ROWS)
    p = argparse.ArgumentParser(description=__doc__, epilog=f"Rows: {names}.",
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", metavar="NAME,...", help="these rows alone (roofline: a prefix stands for all)")
    p.add_argument("--quick", action="store_true", help="few and short turns: to see whether it works")
    p.add_argument("--json", metavar="FILE", help="write everything that was measured (-: to stdout)")
    p.add_argument("--memory", choices=("kept", "stock"), default="stock",
                   help="peers keep freed memory, which is faster with large matrices, or not, as installed (stock)")
    p.add_argument("--threads", type=int, default=2, help="of every program (2)")
    p.add_argument("--seed", type=int, help="of the drawn network (the date)")
    p.add_argument("--logs", metavar="DIR", help="what peers print goes there (a new folder of /tmp)")
    options = p.parse_args()
    wanted = [w for w in (options.only or "").split(",") if w]
    unknown = [w for w in wanted if not any(r.name == w or r.name.startswith(w + "-") for r in ROWS)]
    if unknown:
        p.error(f"there is no row {unknown[0]}; there are {names}")
    if not os.access(common.CELLC, os.X_OK):
        p.error(f"{common.CELLC} is not there: build it, or name another with CELLC")
    rows = [r for r in ROWS if not wanted or
            any(r.name == w or r.name.startswith(w + "-") for w in wanted)]

    run, done = Run(options), []
    for row in rows:
        log(f"{row.name}: {row.measure}")
        try:
            value, numbers = row.run(run)
            done.append((row, value, numbers, None))
        except (Failed, RuntimeError, KeyError) as e:
            log(f"  left out: {e}")
            done.append((row, None, {}, f"{type(e).__name__}: {e}"))

    document = {
        "schema": "cellc.peers.1", "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": processor(), "cores": os.cpu_count(), "threads": run.threads, "memory": run.memory,
        "quick": run.quick, "sgemm_gflops": {k: statistics.median(v) for k, v in run.rates.items()},
        "rows": [{"name": r.name, "measure": r.measure, "unit": r.unit or "ratio", "must": r.must,
                  "aim": r.aim, "value": v, "verdict": verdict(r, v) if v is not None else "left out",
                  "why": why, "numbers": n} for r, v, n, why in done]}
    table = sys.stderr if options.json == "-" else sys.stdout
    print(f"{'measure':58} {'must':>6} {'aim':>6} {'here':>9}  {'':7} raw numbers", file=table)
    for row, value, numbers, why in done:
        if value is None:
            print(f"{row.measure:58} {row.must:6g} {row.aim:6g} {'-':>9}  left out: {why[:200]}", file=table)
        else:
            print(f"{row.measure:58} {row.must:6g} {row.aim:6g} {value:9.3g}  {verdict(row, value):7} "
                  f"{raw(numbers)}", file=table)
    rates = ", ".join(f"{k} {statistics.median(v):.0f}" for k, v in run.rates.items())
    print(f"\n{processor()}, {run.threads} threads, {document['date']}; sgemm, GFLOP/s: {rates or 'not run'}; "
          f"peers' memory: {run.memory}", file=table)
    if options.json:
        out = sys.stdout if options.json == "-" else open(options.json, "w")
        json.dump(document, out, indent=1)
        out.write("\n")
        if out is not sys.stdout:
            out.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
