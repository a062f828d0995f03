"""Any network in PyTorch: the text of `cellc emit --stage ir` as a Python function.

That text is the update before any rewrite but the sharing of equal values: what a program traced from the
cell file would give a framework. Every line becomes a line of Python; torch.compile gets the function of
the losses whole, autograd the derivatives. In a tensor the axes of a value come first, in the order of
the graph's table, then its shape."""

import re

import torch

import arq_torch
import common

ITEM = re.compile(r"%(\d+) = (\S+)(.*)$")


def safe_sqrt(x):
    """0 has the derivative 0"""
    positive = x > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, x, 1.0)), 0.0)


def sign_bits(index, n):
    bits = index[..., None] >> torch.arange(n)
    return torch.where(bits & 1 == 1, 1.0, -1.0)


def argmax(x, dim):
    """the lower index of equal ones, as torch.argmax does not promise"""
    return torch.argmax((x == x.amax(dim, keepdim=True)).to(torch.int8), dim)


def first_max(x, dim):
    """the largest; its derivative goes to the first of equal ones"""
    return torch.gather(x, dim, argmax(x.detach(), dim).unsqueeze(dim)).squeeze(dim)


SCALAR = {
    "add": "({0} + {1})", "sub": "({0} - {1})", "mul": "({0} * {1})", "div": "({0} / {1})",
    "pow": "({0} ** {1})", "min": "torch.where({1} < {0}, {1}, {0})",
    "max": "torch.where({1} > {0}, {1}, {0})",
    "lt": "({0} < {1}).float()", "le": "({0} <= {1}).float()", "eq": "({0} == {1}).float()",
    "ne": "({0} != {1}).float()", "neg": "(-{0})", "abs": "torch.abs({0})", "sign": "torch.sign({0})",
    "floor": "torch.floor({0})", "sqrt": "safe_sqrt({0})", "exp": "torch.exp({0})",
    "log": "torch.log({0})", "tanh": "torch.tanh({0})", "sigmoid": "torch.sigmoid({0})",
    "sin": "torch.sin({0})", "cos": "torch.cos({0})", "relu": "torch.relu({0})",
    "where": "torch.where({0} != 0, {1}, {2})", "float": "{0}.float()",
}


class Value:
    """what is known of a value: the Python name, its axes, its shape"""

    def __init__(self, code, axes, shape):
        self.code, self.axes, self.shape = code, axes, shape


class Writer:
    def __init__(self, text):
        self.lines = text.splitlines()
        self.at, self.count = 0, 0
        self.extents, self.out = {}, []
        self.params, self.targets, self.minimize, self.outputs = set(), set(), [], []

    # ---- pieces of text ----

    def name(self):
        self.count += 1
        return f"t{self.count}"

    def type_of(self, text):
        shape, axes = re.search(r": (?:f|i|bits)(?:\[([\d,]*)\])? \{([^}]*)\}", text).groups()
        return ([a for a in axes.split(", ") if a], [int(n) for n in shape.split(",")] if shape else [])

    def sizes(self, axes):
        return [self.extents[a] for a in axes]

    def put(self, code, axes, shape):
        name = self.name()
        self.out.append(f"{name} = {code}")
        return Value(name, axes, shape)

    def widened(self, v, axes, rank=None):
        """with a dimension of 1 for each axis that it does not vary over; rank: for a scalar that
        meets a shape"""
        if v.axes == axes and (rank is None or len(v.shape) == rank):
            return v.code
        index = [":" if a in v.axes else "None" for a in axes]
        shape = [":"] * len(v.shape)
        if rank is not None and not v.shape:
            shape = ["None"] * rank
        return f"{v.code}[{', '.join(index + shape)}]" if index + shape else v.code

    # ---- ops ----

    def step(self, op, rest, values, inputs):
        """the value of one line that has no body"""
        axes, shape = self.type_of(rest)
        refs = [values[int(n)] for n in re.findall(r"%(\d+)", rest.split(" : ")[0])]
        n = len(axes)
        if op == "input":
            return inputs(re.match(r' "([^"]*)"', rest).group(1), axes, shape)
        if op == "const":
            return self.put(f"torch.tensor({float(rest.split()[0])!r}, dtype=torch.float32)", axes, shape)
        if op == "range":
            return self.put(f"torch.arange({shape[0]}, dtype=torch.float32)", axes, shape)
        if op == "axis_index":
            return self.put(f"torch.arange({self.extents[axes[0]]})", axes, shape)
        if op in SCALAR:
            args = [self.widened(v, axes, len(shape)) for v in refs]
            return self.put(SCALAR[op].format(*args), axes, shape)
        a = refs[0]
        if op == "one_hot":
            return self.put(f"torch.nn.functional.one_hot({a.code}, {shape[0]}).float()", axes, shape)
        if op == "sign_bits":
            return self.put(f"sign_bits({a.code}, {shape[0]})", axes, shape)
        if op == "stop_gradient":
            return self.put(f"{a.code}.detach()", axes, shape)
        if op == "reshape":
            return self.put(f"{a.code}.reshape({self.sizes(axes) + shape})", axes, shape)
        if op == "transpose":
            order = [int(i) for i in re.search(r"map \[([\d,]*)\]", rest).group(1).split(",")]
            return self.put(f"{a.code}.permute({[*range(n), *(n + i for i in order)]})", axes, shape)
        if op == "slice":
            dim, begin, end = map(int, re.search(r"dim (\d+) \[(\d+):(\d+)\]", rest).groups())
            return self.put(f"{a.code}.narrow({n + dim}, {begin}, {end - begin})", axes, shape)
        if op == "pad":
            dim, before, after = map(int, re.search(r"dim (\d+) \((\d+), (\d+)\)", rest).groups())
            widths = [0, 0] * (len(shape) - 1 - dim) + [before, after]
            return self.put(f"torch.nn.functional.pad({a.code}, {widths})", axes, shape)
        if op == "concat":
            dim = int(re.search(r"dim (\d+)", rest).group(1))
            parts = [f"{self.widened(v, axes)}.expand({self.sizes(axes) + v.shape})" for v in refs]
            return self.put(f"torch.cat([{', '.join(parts)}], {n + dim})", axes, shape)
        if op == "broadcast":
            to = [int(i) for i in re.search(r"map \[([\d,]*)\]", rest).group(1).split(",") if i]
            middle = [1] * len(shape)
            for i, d in enumerate(to):
                middle[d] = a.shape[i]
            return self.put(f"{a.code}.reshape({self.sizes(axes) + middle}).expand({self.sizes(axes) + shape})",
                            axes, shape)
        if op == "reduce":
            return self.reduce(rest, a, axes, shape)
        if op == "take":
            return self.take(rest, refs, axes, shape)
        if op == "contract":
            return self.contract(rest, refs, axes, shape)
        raise RuntimeError(f"no PyTorch for `{op}`")

    def reduce(self, rest, a, axes, shape):
        kind = rest.split()[0]
        dims = re.search(r"dims \[([\d,]*)\]", rest)
        over = re.search(r"over \{([^}]*)\}", rest)
        gone = [a.axes.index(x) for x in over.group(1).split(", ")] if over else []
        gone += [len(a.axes) + int(i) for i in dims.group(1).split(",")] if dims else []
        if kind == "sum":
            return self.put(f"{a.code}.sum({gone})", axes, shape)
        if kind == "max":
            return self.put(f"first_max({a.code}, {gone[0]})", axes, shape)
        return self.put(f"argmax({a.code}, {gone[0]})", axes, shape)

    def take(self, rest, refs, axes, shape):
        a, index = refs
        along = re.search(r"dim (\d+)", rest)
        axis = re.search(r"axis (\w+)", rest)
        # all axes of either, then the dimension that is taken from
        every = [x for x in self.extents if x in a.axes or x in index.axes]
        dim = len(every) + int(along.group(1)) if along else every.index(axis.group(1))
        full = self.sizes(every) + a.shape
        one = list(full)
        one[dim] = 1
        i = f"{self.widened(index, every)}"
        i = f"{i}[{', '.join(['...'] + ['None'] * len(a.shape))}]" if a.shape else i
        code = (f"torch.gather({self.widened(a, every)}.expand({full}), {dim}, {i}.expand({one}).long())"
                f".squeeze({dim})")
        return self.put(code, axes, shape)

    def contract(self, rest, refs, axes, shape):
        labels = re.search(r'"(\w*),(\w*)->(\w*)"', rest).groups()
        letter = {x: chr(ord("A") + i) for i, x in enumerate(self.extents)}
        terms = ["".join(letter[x] for x in v.axes) + l for v, l in zip(refs, labels)]
        result = "".join(letter[x] for x in axes) + labels[2]
        # an axis that is summed and that one operand alone has: einsum sums it too
        return self.put(f"torch.einsum('{terms[0]},{terms[1]}->{result}', {refs[0].code}, {refs[1].code})",
                        axes, shape)

    # ---- graphs ----

    def scan(self, rest, values, inputs):
        """the body, written out for each step; no derivative goes through what is carried"""
        axis = re.match(r" over (\w+)", rest).group(1)
        carries, steps = ([values[int(n)] for n in re.findall(r"%(\d+)", group)]
                          for group in re.search(r"carries \(([^)]*)\) inputs \(([^)]*)\)", rest).groups())
        begin = self.at
        for t in range(self.extents[axis]):
            self.at = begin

            def body_inputs(name, axes, shape, t=t):
                kind = re.fullmatch(r"(carry|step)(\d+)", name)
                if not kind:
                    v = inputs(name, axes, shape)
                    return Value(f"{v.code}.detach()", axes, shape)
                i = int(kind.group(2))
                if kind.group(1) == "step":
                    source = steps[i]
                    picked = f"{source.code}.select({source.axes.index(axis)}, {t})"
                    return Value(picked, axes, shape)
                v = carries[i]
                return self.put(f"{self.widened(v, axes)}.expand({self.sizes(axes) + shape})", axes, shape)

            results = self.graph(body_inputs)
            carries = [results.get(f"carry{i}", carries[i]) for i in range(len(carries))]
        return carries

    def graph(self, inputs):
        """the lines of one graph, up to its end; its outputs"""
        values, outputs = {}, {}
        while self.at < len(self.lines):
            line = self.lines[self.at].split("  ; ")[0].strip()
            self.at += 1
            item = ITEM.match(line)
            if line == "}":
                break
            if item and item.group(2) == "scan":
                values[int(item.group(1))] = self.scan(item.group(3), values, inputs)
            elif item and item.group(2) == "result":
                which, scan = re.match(r" (\d+) %(\d+)", item.group(3)).groups()
                values[int(item.group(1))] = values[int(scan)][int(which)]
            elif item:
                values[int(item.group(1))] = self.step(item.group(2), item.group(3), values, inputs)
            elif line.startswith("axis "):
                _, name, extent = line.split()
                self.extents[name] = int(extent)
            elif line.startswith("output "):
                name, number = re.match(r'output "([^"]*)" %(\d+)', line).groups()
                outputs[name] = values[int(number)]
            elif line.startswith("minimize "):
                number, group, kind, settings = re.match(
                    r'minimize %(\d+) over "([^"]*)" (\w+)\((.*)\)', line).groups()
                numbers = {k: float(v) for k, v in re.findall(r"(\w+) = ([^,]+)", settings)}
                self.minimize.append((group, values[int(number)].code, kind, numbers))
        return outputs

    def function(self):
        def inputs(name, axes, shape):
            if name.startswith("params/"):
                return Value(f"p[{name[7:]!r}]", axes, shape)
            if name.startswith("target/"):
                return Value(f"target[{name[7:]!r}]", axes, shape)
            if name == "context":
                return Value("batch['obs'][:-1]", axes, shape)
            if name == "obs":
                return Value("batch['obs'][-1]", axes, shape)
            return Value(f"batch[{name!r}]", axes, shape)

        # observations are read in their own shape
        def shaped(name, axes, shape):
            v = inputs(name, axes, shape)
            if name in ("context", "obs", "next_obs"):
                v.code = f"{v.code}.reshape({self.sizes(axes) + shape})"
            return v

        self.graph(shaped)
        losses = ", ".join(f"{g!r}: {loss}" for g, loss, _, _ in self.minimize)
        body = "\n    ".join(self.out + [f"return {{{losses}}}, {{}}"])
        return f"def losses(p, target, batch):\n    {body}\n"


class Graph(arq_torch.Torch):
    """any network; losses, gradients and the three optimisers are cellc's. `double`: in float64, to see
    that it is the same function whatever the network does to roundings"""

    def __init__(self, case, compiled=True, double=False):
        writer = Writer(common.cellc("emit", *case.arguments(), "--stage", "ir", "--program", "update"))
        self.source, self.double = writer.function(), double
        if double:
            self.source = self.source.replace(".float()", ".double()").replace("float32", "float64")
        scope = {"torch": torch, "safe_sqrt": safe_sqrt, "sign_bits": sign_bits, "argmax": argmax,
                 "first_max": first_max}
        exec(compile(self.source, "<graph>", "exec"), scope)  # noqa: S102 - our own text
        self.losses = scope["losses"]
        self.optimizers = {group: (kind, settings) for group, _, kind, settings in writer.minimize}
        super().__init__(case, compiled)

    def load(self, tensors):
        if self.double:
            tensors = {k: v.astype("float64") if v.dtype == "float32" else v for k, v in tensors.items()}
        super().load(tensors)
        # groups are cells, or blocks of cells that learn together: as the module lists them
        self.groups = {}
        owner = {p["name"]: p["group"] for p in common.info(self.c)["parameters"]}
        for name in self.params:
            self.groups.setdefault(owner[name], []).append(name)

    def update(self):
        # a parameter that the loss does not reach stays: its gradient is zero
        losses, self.records = self.forward(self.params, self.target, self.batch)
        self.records = dict(self.records)
        names = list(self.params)
        grads = torch.autograd.grad(sum(losses.values()), [self.params[n] for n in names], allow_unused=True)
        self.grads = {n: torch.zeros_like(self.params[n]) if g is None else g for n, g in zip(names, grads)}
        self.step += 1
        with torch.no_grad():
            self.norms = self.optimise(self.params, self.grads, self.m1, self.m2, self.step)
        self.records.update({g + "/loss": v for g, v in losses.items()})

    def adam(self, params, grads, m1, m2, step):
        """the group's optimiser, whichever it is, in place; the norms"""
        norms = {}
        for group, names in self.groups.items():
            kind, o = self.optimizers[group]
            norm = torch.sqrt(sum(torch.sum(grads[n] * grads[n]) for n in names))
            scale = torch.where(norm > o["clip"], o["clip"] / norm, 1.0) if o["clip"] > 0 else 1.0
            for n in names:
                g = grads[n] * scale
                if kind == "adam":
                    m1[n].mul_(o["b1"]).add_(g, alpha=1 - o["b1"])
                    m2[n].mul_(o["b2"]).addcmul_(g, g, value=1 - o["b2"])
                    root = torch.sqrt(m2[n] / (1 - o["b2"] ** step)) + o["eps"]
                    change = o["lr"] * (m1[n] / (1 - o["b1"] ** step)) / root
                elif kind == "rmsprop":
                    m2[n].mul_(o["decay"]).addcmul_(g, g, value=1 - o["decay"])
                    change = o["lr"] * g / (torch.sqrt(m2[n]) + o["eps"])
                else:
                    if o["b1"] != 0:
                        m1[n].mul_(o["b1"]).add_(g)
                        g = m1[n]
                    change = o["lr"] * g
                params[n].sub_(change)
            norms[group] = norm
        return norms
