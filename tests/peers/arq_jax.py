"""ARQ in JAX: the plain form and the hand-optimised one.

`Plain` is the algorithm as its equations state it, the way a researcher writes it in a framework: values
of all candidate actions in every pass, the whole d x d matrix of every sample and candidate, the context
replayed apart from the rest, one update function a cell, observations as two arrays of floats.

`Hand` computes the same numbers after the rewrites that a person can make without leaving the framework:
one jit for everything; the context passes compute hidden values alone; the observation's part of all
steps is one product; the part of a product that reads the action is a table row; only values that are
read are computed; row statistics come from the factors of the matrix. `chunk` goes one step further
than that and cuts the batch by hand, so that the matrices stay in the caches, with the backward pass
written by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

import common

STD_EPS = 1e-6


def load(params):
    return {name: jnp.asarray(value) for name, value in params.items()}


def layer_norm(v, scale, offset):
    m = v.mean(-1, keepdims=True)
    variance = jnp.maximum((v * v).mean(-1, keepdims=True) - m * m, 0)
    return scale * (v - m) / jnp.sqrt(variance + 1e-6) + offset


def std(y):
    """sqrt of the variance, with derivative 0 where it is 0"""
    variance = jnp.mean((y - y.mean(-1, keepdims=True)) ** 2, -1)
    safe = jnp.where(variance > 0, variance, 1)
    return jnp.where(variance > 0, jnp.sqrt(safe), 0)


def adam(c, step, params, grads, m1, m2):
    """clip to a global norm, then Adam; returns the new dictionaries and the norm"""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in grads.values()))
    scale = jnp.where(norm > c.clip, c.clip / norm, 1)
    t = step + 1
    out, out1, out2 = {}, {}, {}
    for name, g in grads.items():
        g = g * scale
        a = c.b1 * m1[name] + (1 - c.b1) * g
        b = c.b2 * m2[name] + (1 - c.b2) * g * g
        out1[name], out2[name] = a, b
        out[name] = params[name] - c.lr * (a / (1 - c.b1**t)) / (jnp.sqrt(b / (1 - c.b2**t)) + c.eps)
    return out, out1, out2, norm


class Base:
    def __init__(self, config):
        self.c = config

    def load(self, tensors):
        """takes the state and the batch of one update (NumPy arrays by cellc's names)"""
        pick = lambda prefix: load(common.below(tensors, prefix))
        self.params, self.target = pick("params/"), pick("target/")
        self.m1, self.m2 = pick("moment1/"), pick("moment2/")
        self.step = jnp.float32(tensors["step"].reshape(()))
        batch = {k: jnp.asarray(tensors[k]) for k in ("obs", "next_obs", "reward", "terminated")}
        self.batch = dict(batch, action=jnp.asarray(tensors["action"]))

    def results(self):
        """what can be compared with cellc's results, by its names"""
        r = dict(self.records)
        for prefix, tree in (("params/", self.params), ("moment1/", self.m1), ("moment2/", self.m2)):
            r.update({prefix + k: v for k, v in tree.items()})
        return jax.device_get(r)


# ---- plain ----


class Plain(Base):
    def __init__(self, config):
        super().__init__(config)
        c, L = config, len(config.widths)

        def inputs(l, obs, below, carried):
            parts = [obs if l == 0 else below]
            if l > 0:
                parts.append(obs)
            parts.append(carried[l])
            if l + 1 < L:
                parts.append(carried[l + 1])
            return jnp.concatenate(parts, -1)

        def hidden(p, l, x):
            n = f"l{l + 1}/h/"
            a = jax.nn.relu(x @ p[n + "linear/weight"].T + p[n + "linear/bias"])
            return layer_norm(a, p[n + "layer_norm/scale"], p[n + "layer_norm/offset"])

        def values(p, l, x, h):
            """Q of all candidates, [B, A]"""
            B, d = h.shape
            x = jnp.broadcast_to(x[:, None, :], (B, c.actions, x.shape[-1]))
            e = jnp.broadcast_to(jnp.eye(c.actions), (B, c.actions, c.actions))
            xa = jnp.concatenate([x, e], -1)
            z1 = (xa @ p[f"l{l + 1}/z1/linear/weight"].T).reshape(B, c.actions, c.heads, d)
            z2 = (xa @ p[f"l{l + 1}/z2/linear/weight"].T).reshape(B, c.actions, c.heads, d)
            m = jnp.einsum("baki,bakj->baij", z2, z1)
            m = (m - m.mean(-1, keepdims=True)) / (m.std(-1, keepdims=True) + STD_EPS)
            y = jnp.einsum("baij,bj->bai", jnp.tanh(m), h)
            return std(y)

        def stack(p, obs, carried):
            """inputs and hidden values of all cells"""
            xs, hs, below = [], [], None
            for l in range(L):
                xs.append(inputs(l, obs, below, carried))
                below = hidden(p, l, xs[-1])
                hs.append(below)
            return xs, hs

        @jax.jit
        def context(p, obs):
            """states behind the last and behind all observations"""
            zero = tuple(jnp.zeros((obs.shape[1], d)) for d in c.widths)

            def one(carried, o):
                return tuple(stack(p, o, carried)[1]), None

            before = jax.lax.scan(one, zero, obs[:-1])[0]
            return before, tuple(stack(p, obs[-1], before)[1])

        @functools.partial(jax.jit, static_argnums=0)
        def update_cell(l, p, target, m1, m2, step, below, batch, states):
            before, now, target_now = states
            r, done = batch["reward"], batch["terminated"]
            rows = jnp.arange(r.shape[0])

            def one(q, obs, carried, below):
                x = inputs(l, obs, below, carried)
                h = hidden(q, l, x)
                return values(q, l, x, h), h

            next_q, next_h = one(p, batch["next_obs"], now, below[1])
            target_q, target_h = one(target, batch["next_obs"], target_now, below[2])
            best = jnp.argmax(next_q, -1)
            td = r + (1 - done) * c.gamma * target_q[rows, best]

            def loss(p):
                q, h = one(p, batch["obs"][-1], before, below[0])
                return jnp.mean((q[rows, batch["action"]] - td) ** 2), (q, h)

            (value, (q, h)), g = jax.value_and_grad(loss, has_aux=True)(p)
            p, m1, m2, norm = adam(c, step, p, g, m1, m2)
            records = {"q": q, "next_q": next_q, "target_next_q": target_q, "td_target": td,
                       "loss": value, "grad_norm": norm}
            return p, m1, m2, (h, next_h, target_h), records, g

        self.context, self.update_cell, self.L = context, update_cell, L

    def update(self):
        b = self.batch
        before, now = self.context(self.params, b["obs"])
        _, target_now = self.context(self.target, b["obs"])
        below = (None, None, None)
        new, new1, new2, self.records = {}, {}, {}, {}
        for l in range(self.L):
            own = lambda tree: {k: v for k, v in tree.items() if k.startswith(f"l{l + 1}/")}
            p, m1, m2, below, records, g = self.update_cell(
                l, own(self.params), own(self.target), own(self.m1), own(self.m2), self.step, below, b,
                (before, now, target_now))
            new.update(p), new1.update(m1), new2.update(m2)
            self.records.update({f"l{l + 1}/{k}": v for k, v in records.items()})
            self.records.update({f"grad/{k}": v for k, v in g.items()})
        self.params, self.m1, self.m2, self.step = new, new1, new2, self.step + 1
        jax.block_until_ready(self.params)


# ---- hand-optimised ----


def scaled(z1, z2):
    """Centred z1, z2 with the rows' scale in it: [N, K, d] each. The mean and variance of a row of
    z2' z1 follow from z1's mean and its K x K covariance."""
    centred = z1 - z1.mean(-1, keepdims=True)
    covariance = jnp.einsum("nkj,nlj->nkl", centred, centred) / z1.shape[-1]
    variance = jnp.sum(z2 * jnp.einsum("nkl,nli->nki", covariance, z2), 1)
    safe = jnp.where(variance > 0, variance, 1)
    sigma = jnp.where(variance > 0, jnp.sqrt(safe), 0)
    return centred, z2 / (sigma + STD_EPS)[:, None, :]


def attend(c, z, h):
    """y = tanh(z' c) h"""
    return jnp.einsum("nij,nj->ni", jnp.tanh(jnp.einsum("nki,nkj->nij", z, c)), h)


def by_chunks(f, size, *args):
    n = args[0].shape[0]
    size = min(size, n)
    if n % size:
        return f(*args)
    cut = lambda a: a.reshape((n // size, size) + a.shape[1:])
    out = jax.lax.map(lambda t: f(*t), tuple(cut(a) for a in args))
    return jax.tree.map(lambda a: a.reshape((n,) + a.shape[2:]), out)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend_chunked(size, c, z, h):
    return by_chunks(attend, size, c, z, h)


def _attend_fwd(size, c, z, h):
    return attend_chunked(size, c, z, h), (c, z, h)


def _attend_bwd(size, saved, dy):
    def one(c, z, h, dy):
        t = jnp.tanh(jnp.einsum("nki,nkj->nij", z, c))
        dh = jnp.einsum("ni,nij->nj", dy, t)
        dn = (1 - t * t) * h[:, None, :] * dy[:, :, None]
        return jnp.einsum("nij,nki->nkj", dn, z), jnp.einsum("nij,nkj->nki", dn, c), dh

    return by_chunks(one, size, *saved, dy)


attend_chunked.defvjp(_attend_fwd, _attend_bwd)


class Hand(Base):
    def __init__(self, config, chunk=0):
        super().__init__(config)
        c, L, S, A = config, len(config.widths), config.inputs, config.actions
        product = functools.partial(attend_chunked, chunk) if chunk else attend

        def columns(l):
            """where the parts of a cell's input begin"""
            d = c.widths
            parts = {"obs": S} if l == 0 else {"below": d[l - 1], "obs": S}
            parts["self"] = d[l]
            if l + 1 < L:
                parts["top"] = d[l + 1]
            at, out = 0, {}
            for name, width in parts.items():
                out[name] = slice(at, at + width)
                at += width
            out["action"] = slice(at, at + A)
            return out

        cols = [columns(l) for l in range(L)]

        def weights_of_observation(p):
            return jnp.concatenate(
                [p[f"l{l + 1}/h/linear/weight"][:, cols[l]["obs"]] for l in range(L)], 0)

        def split(a):
            """the rows of the joint product of all cells"""
            out, at = [], 0
            for d in c.widths:
                out.append(a[..., at:at + d])
                at += d
            return out

        def hidden(p, l, from_obs, below, carried):
            n = f"l{l + 1}/h/"
            w, k = p[n + "linear/weight"], cols[l]
            rest = [(carried[l], w[:, k["self"]])]
            if l > 0:
                rest.append((below, w[:, k["below"]]))
            if l + 1 < L:
                rest.append((carried[l + 1], w[:, k["top"]]))
            x = jnp.concatenate([a for a, _ in rest], -1)
            a = from_obs + x @ jnp.concatenate([b for _, b in rest], 1).T + p[n + "linear/bias"]
            return layer_norm(jax.nn.relu(a), p[n + "layer_norm/scale"], p[n + "layer_norm/offset"])

        def stack(p, from_obs, carried):
            hs, below = [], None
            for l, o in enumerate(split(from_obs)):
                below = hidden(p, l, o, below, carried)
                hs.append(below)
            return tuple(hs)

        def context(p, from_obs, steps):
            zero = tuple(jnp.zeros((from_obs.shape[1], d)) for d in c.widths)
            return jax.lax.scan(lambda s, o: (stack(p, o, s), None), zero, from_obs[:steps])[0]

        def x_of(l, obs, hs, carried):
            parts = ([hs[l - 1]] if l else []) + [obs, carried[l]]
            return jnp.concatenate(parts + ([carried[l + 1]] if l + 1 < L else []), -1)

        def both(p, l):
            return p[f"l{l + 1}/z1/linear/weight"], p[f"l{l + 1}/z2/linear/weight"]

        def value(p, l, zx, action, h):
            """Q of one action a sample; zx: the products with what does not vary over actions"""
            k, d = cols[l]["action"], c.widths[l]
            z = [a + w[:, k].T[action] for a, w in zip(zx, both(p, l))]
            z1, z2 = (a.reshape(-1, c.heads, d) for a in z)
            return std(product(*scaled(z1, z2), h))

        def products(p, l, x):
            D = x.shape[-1]
            return tuple(x @ w[:, :D].T for w in both(p, l))

        @functools.partial(jax.jit, donate_argnums=(0, 2, 3))
        def update(p, target, m1, m2, step, batch):
            obs, next_obs = batch["obs"], batch["next_obs"]
            C, B = obs.shape[0] - 1, obs.shape[1]
            all_obs = jnp.concatenate([obs, next_obs[None]], 0)
            o = all_obs @ weights_of_observation(p).T
            to = all_obs @ weights_of_observation(target).T
            before = context(p, o, C)
            now = stack(p, o[C], before)  # the last context step is the pass at s_t too
            target_now = context(target, to, C + 1)
            next_h, target_h = stack(p, o[C + 1], now), stack(target, to[C + 1], target_now)
            records, grads = {}, {}
            for l in range(L):
                own = {k: v for k, v in p.items() if k.startswith(f"l{l + 1}/")}
                zx = products(p, l, x_of(l, next_obs, next_h, now))
                next_q = jnp.stack([value(p, l, zx, jnp.full(B, a), next_h[l]) for a in range(A)], -1)
                best = jnp.argmax(next_q, -1)
                zt = products(target, l, x_of(l, next_obs, target_h, target_now))
                target_q = value(target, l, zt, best, target_h[l])
                td = batch["reward"] + (1 - batch["terminated"]) * c.gamma * target_q

                def loss(own):
                    below = jax.lax.stop_gradient(now[l - 1]) if l else None
                    o_l = obs[C] @ own[f"l{l + 1}/h/linear/weight"][:, cols[l]["obs"]].T
                    h = hidden(own, l, o_l, below, before)
                    x = jax.lax.stop_gradient(x_of(l, obs[C], now, before))
                    q = value(own, l, products(own, l, x), batch["action"], h)
                    return jnp.mean((q - td) ** 2), q

                (loss_value, q), g = jax.value_and_grad(loss, has_aux=True)(own)
                grads.update(g)
                n = f"l{l + 1}/"
                records.update({n + "q_taken": q, n + "next_q": next_q, n + "target_next_q_best": target_q,
                                n + "td_target": td, n + "loss": loss_value})
            new, new1, new2 = {}, {}, {}
            for l in range(L):
                n = f"l{l + 1}/"
                own = lambda t: {k: v for k, v in t.items() if k.startswith(n)}
                a, b, d, norm = adam(c, step, own(p), own(grads), own(m1), own(m2))
                new.update(a), new1.update(b), new2.update(d)
                records[n + "grad_norm"] = norm
            return new, new1, new2, records, grads

        self.call, self.stack, self.x_of = update, stack, x_of
        self.products, self.value = products, value
        self.from_observations = lambda p, obs: obs @ weights_of_observation(p).T

    def update(self):
        self.params, self.m1, self.m2, self.records, grads = self.call(
            self.params, self.target, self.m1, self.m2, self.step, self.batch)
        self.step = self.step + 1
        self.records.update({f"grad/{k}": v for k, v in grads.items()})
        jax.block_until_ready(self.params)


# ---- acting ----


class Act:
    """One environment's step: values of all candidates, the next state, the best action. One jit; the
    action's part of the products is a table."""

    STEPS = 8

    def __init__(self, case):
        self.case, c = case, case
        hand = Hand(case)

        @jax.jit
        def act(p, obs, carried):
            hs = hand.stack(p, hand.from_observations(p, obs), carried)
            mean = 0
            for l in range(len(c.widths)):
                zx = hand.products(p, l, hand.x_of(l, obs, hs, carried))
                q = [hand.value(p, l, zx, jnp.full(1, a), hs[l]) for a in range(c.actions)]
                mean += jnp.stack(q, -1)
            mean = mean / len(c.widths)
            return mean, jnp.argmax(mean, -1), hs

        self.call = act

    def check(self):
        t = common.data(dataclasses.replace(self.case, batch=1))
        t = {k: v for k, v in t.items() if k.startswith("params/")}
        rng = np.random.default_rng(2)
        t["obs"] = (rng.random((self.STEPS, 1, self.case.inputs)) < self.case.density).astype(np.float32)
        mine = common.ours(self.case, t, "act")
        self.params = load(common.below(t, "params/"))
        self.observations = [jnp.asarray(o) for o in t["obs"]]
        self.zero = tuple(jnp.zeros((1, d)) for d in self.case.widths)
        q, carried = [], self.zero
        for o in self.observations:
            mean, _, carried = self.call(self.params, o, carried)
            q.append(np.asarray(mean))
        difference = float(np.abs(np.stack(q) - mine["q"]).max() / np.abs(mine["q"]).max())
        if not difference <= common.VALUES:
            raise common.Differs(f"q {difference:.1e} (allowed {common.VALUES:.0e})")
        self.carried, self.at = self.zero, 0
        return {"values": difference}

    def run(self):
        """the action is taken to the caller, as an environment's step needs it"""
        _, action, self.carried = self.call(self.params, self.observations[self.at], self.carried)
        self.at = (self.at + 1) % self.STEPS
        return int(action[0])
