"""What all peers share: the description of a case, its data, cellc's own run of it, the comparison.

A peer is an object with three methods: load(tensors) takes the state and the batch of one update, NumPy
arrays by the names that `cellc run` reads and writes; update() does one and returns when it is done;
results() gives what can be compared, by the same names. Where a peer computes fewer values than cellc
writes, it says so in the name: `q_taken` is q at the action that was taken, `target_next_q_best` the
target's value at the best next action."""

import dataclasses
import functools
import json
import os
import subprocess
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CELLC = os.environ.get("CELLC", os.path.join(ROOT, "build", "cellc"))

# bounds of float32, of the recorded networks
VALUES, GRADIENTS = 1e-4, 1e-3


class Differs(RuntimeError):
    """a peer's numbers are not cellc's"""


@dataclasses.dataclass
class Case:
    """A network at a size, and the numbers that a peer needs to compute the same."""

    file: str
    shape: str  # --obs: "10x10x4:bits"
    actions: int
    widths: list
    batch: int
    heads: int = 8
    context: int = 10
    lr: float = 1e-4
    b1: float = 0.9
    b2: float = 0.99
    eps: float = 1e-8
    clip: float = 1.0
    gamma: float = 0.99
    density: float = 0.1
    settings: tuple = ()
    action_code: str = ""  # --actions where they are not one-hot: "64:bits"
    env: str = ""  # whose shapes these are: cellc's stand-in data are then of its random play

    @property
    def inputs(self):
        return int(np.prod([int(n) for n in self.shape.split(":")[0].split("x")]))

    @property
    def bits(self):
        return self.shape.endswith(":bits")

    def arguments(self):
        """of cellc, for the network"""
        path = self.file if os.path.isabs(self.file) else os.path.join(ROOT, self.file)
        out = [path] + (["--env", self.env] if self.env else
                        ["--obs", self.shape, "--actions", self.action_code or str(self.actions)])
        for s in self.settings:
            out += ["--set", s]
        return out

    def text(self):
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def of(text):
        return Case(**json.loads(text))


def below(tensors, prefix):
    return {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}


def cellc(*words, **options):
    """runs cellc and gives what it prints; an error's text is the exception's"""
    done = subprocess.run([CELLC, *words], capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"cellc {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@functools.lru_cache(None)
def _info(arguments):
    return json.loads(cellc("info", *arguments, "--no-measure", "--json"))


def info(case):
    """what `cellc info` says of the network"""
    return _info(tuple(case.arguments()))


def parameters(case):
    """[(name, shape)], as cellc lists them"""
    return [(p["name"], tuple(p["shape"])) for p in info(case)["parameters"]]


def data(case, seed=1):
    """A state that is not the first one (moments, a step count, a target apart from the parameters)
    and a batch with a few young episodes."""
    rng = np.random.default_rng(seed)
    f = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    t = {}
    for name, shape in parameters(case):
        leaf = name.rsplit("/", 1)[-1]
        scale = 0.2 if len(shape) < 2 else shape[-1] ** -0.5
        for prefix in ("params/", "target/"):
            t[prefix + name] = scale * f(*shape) + np.float32(leaf == "scale")
        t["target/" + name] = (0.9 * t["params/" + name] + 0.1 * t["target/" + name]).astype(np.float32)
        t["moment1/" + name] = 1e-3 * f(*shape)
        t["moment2/" + name] = (1e-3 + 1e-3 * np.abs(f(*shape))) ** 2
    C, B = case.context, case.batch
    o = rng.random((C + 2, B, case.inputs))
    o = (o < case.density if case.bits else 2 * o - 1).astype(np.float32)
    for b in range(0, B, 3):
        k = 5 * b % (C + 1)
        o[:k, b] = o[k, b]
    t["obs"], t["next_obs"] = o[:C + 1], o[C + 1]
    t["action"] = rng.integers(case.actions, size=B).astype(np.int32)
    t["reward"] = (rng.random(B) < 0.5).astype(np.float32)
    t["terminated"] = (rng.random(B) < 0.1).astype(np.float32)
    t["step"] = np.array([10], dtype=np.int64)
    return t


def ours(case, tensors, program="update", backend="cpu"):
    """what cellc computes from them"""
    from safetensors.numpy import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, source)
        cellc("run", *case.arguments(), "--program", program, "--in", source, "--out", result,
              "--backend", backend)
        return load_file(result)


def compare(case, tensors, mine, peer, values=VALUES, gradients=GRADIENTS):
    """Differences, relative to a tensor's largest entry, as {name: (difference, bound)}; a peer's
    derived names are worked out from ours. Parameters are compared in learning rates: a step that
    Adam scales to one is wrong by no more than a thousandth of that."""
    rows = np.arange(case.batch)
    report = {}
    for name, theirs in peer.items():
        cell, _, leaf = name.rpartition("/")
        if leaf == "q_taken":
            value = mine[cell + "/q"][rows, tensors["action"]]
        elif leaf == "target_next_q_best":
            value = mine[cell + "/target_next_q"][rows, mine[cell + "/next_q"].argmax(-1)]
        elif name in mine:
            value = mine[name]
        elif leaf in ("loss", "grad_norm"):
            continue  # of a block of cells: cellc writes those of single cells
        else:
            raise RuntimeError(f"cellc has no {name} to compare with")
        theirs, value = np.asarray(theirs, np.float64).reshape(-1), np.asarray(value, np.float64).reshape(-1)
        if theirs.shape != value.shape:
            raise RuntimeError(f"{name}: {theirs.shape[0]} entries, cellc has {value.shape[0]}")
        if name.startswith("params/"):
            difference, bound = np.abs(theirs - value).max() / case.lr, 20 * gradients
        else:
            scale = np.abs(value).max() or 1
            difference = np.abs(theirs - value).max() / scale
            bound = gradients if name.startswith(("grad/", "moment")) else values
        report[name] = (float(difference), bound)
    return report


def check(case, peer, seed=1, backend="cpu", values=VALUES, gradients=GRADIENTS):
    """The largest differences from cellc on one update; Differs where a bound is passed."""
    tensors = data(case, seed)
    mine = ours(case, tensors, backend=backend)
    peer.load(tensors)
    peer.update()
    report = compare(case, tensors, mine, peer.results(), values, gradients)
    wrong = {k: v for k, v in report.items() if not v[0] <= v[1]}
    if wrong:
        raise Differs(", ".join(f"{k} {d:.1e} (allowed {b:.0e})" for k, (d, b) in sorted(wrong.items())))
    largest = lambda test: max([d for k, (d, _) in report.items() if test(k)], default=0.0)
    return {"values": largest(lambda k: not k.startswith(("grad/", "moment", "params/"))),
            "gradients": largest(lambda k: k.startswith(("grad/", "moment"))),
            "parameters_in_lr": largest(lambda k: k.startswith("params/")), "tensors": len(report)}
