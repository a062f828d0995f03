"""ARQ in PyTorch, hand-optimised: the rewrites of arq_jax.Hand, with autograd for the derivatives."""

import torch

import common

STD_EPS = 1e-6


def layer_norm(v, scale, offset):
    return torch.nn.functional.layer_norm(v, v.shape[-1:], scale, offset, 1e-6)


def std(y):
    variance = torch.mean((y - y.mean(-1, keepdim=True)) ** 2, -1)
    safe = torch.where(variance > 0, variance, 1.0)
    return torch.where(variance > 0, torch.sqrt(safe), 0.0)


def attend(z1, z2, h):
    """y = tanh(standardised z2' z1) h, the rows' statistics from the factors; z1, z2: [N, K, d]"""
    c = z1 - z1.mean(-1, keepdim=True)
    covariance = torch.bmm(c, c.transpose(1, 2)) / c.shape[-1]
    variance = torch.sum(z2 * torch.bmm(covariance, z2), 1)
    safe = torch.where(variance > 0, variance, 1.0)
    sigma = torch.where(variance > 0, torch.sqrt(safe), 0.0)
    z = z2 / (sigma + STD_EPS)[:, None, :]
    return torch.bmm(torch.tanh(torch.bmm(z.transpose(1, 2), c)), h[:, :, None])[:, :, 0]


class Torch:
    """What the peers in PyTorch share: tensors, the backward pass and the optimiser of each cell. A
    peer has losses(params, target, batch), which gives {group: loss} and records; groups share no
    parameter, so the gradient of the losses' sum is each group's own. `compiled`: losses and optimiser are
    compiled, and with the losses their backward pass."""

    def __init__(self, case, compiled):
        self.c = case
        compile = (lambda f: torch.compile(f, fullgraph=True, dynamic=False)) if compiled else lambda f: f
        self.forward, self.optimise = compile(self.losses), compile(self.adam)

    def load(self, tensors):
        pick = lambda prefix: {k: torch.from_numpy(v.copy()) for k, v in common.below(tensors, prefix).items()}
        self.params, self.target = pick("params/"), pick("target/")
        self.m1, self.m2 = pick("moment1/"), pick("moment2/")
        self.step = torch.tensor(float(tensors["step"].reshape(())))
        self.batch = {k: torch.from_numpy(tensors[k]) for k in ("obs", "next_obs", "reward", "terminated")}
        self.batch["action"] = torch.from_numpy(tensors["action"]).long()
        for p in self.params.values():
            p.requires_grad_(True)
        self.groups = {}
        for name in self.params:
            self.groups.setdefault(name.split("/", 1)[0], []).append(name)

    def update(self):
        losses, self.records = self.forward(self.params, self.target, self.batch)
        names = list(self.params)
        grads = torch.autograd.grad(sum(losses.values()), list(self.params.values()))
        self.grads = dict(zip(names, grads))
        self.step += 1
        with torch.no_grad():
            self.norms = self.optimise(self.params, self.grads, self.m1, self.m2, self.step)
        self.records.update({g + "/loss": v for g, v in losses.items()})

    def adam(self, params, grads, m1, m2, step):
        """clip each group to a global norm, then Adam, in place; the norms"""
        c, norms = self.c, {}
        for group, names in self.groups.items():
            norm = torch.sqrt(sum(torch.sum(grads[n] * grads[n]) for n in names))
            scale = torch.where(norm > c.clip, c.clip / norm, 1.0)
            for n in names:
                g = grads[n] * scale
                m1[n].mul_(c.b1).add_(g, alpha=1 - c.b1)
                m2[n].mul_(c.b2).addcmul_(g, g, value=1 - c.b2)
                root = torch.sqrt(m2[n] / (1 - c.b2**step)) + c.eps
                params[n].sub_(c.lr * (m1[n] / (1 - c.b1**step)) / root)
            norms[group] = norm
        return norms

    def results(self):
        r = {k: v.detach().numpy() for k, v in self.records.items()}
        r.update({g + "/grad_norm": v.numpy() for g, v in self.norms.items()})
        r.update({"grad/" + k: v.numpy() for k, v in self.grads.items()})
        for prefix, tree in (("params/", self.params), ("moment1/", self.m1), ("moment2/", self.m2)):
            r.update({prefix + k: v.detach().numpy() for k, v in tree.items()})
        return r


class Hand(Torch):
    def __init__(self, case, compiled=True):
        super().__init__(case, compiled)
        L, d, S = len(case.widths), case.widths, case.inputs
        self.columns = []
        for l in range(L):
            parts = {"obs": S} if l == 0 else {"below": d[l - 1], "obs": S}
            parts["self"] = d[l]
            if l + 1 < L:
                parts["top"] = d[l + 1]
            at, out = 0, {}
            for name, width in parts.items():
                out[name] = slice(at, at + width)
                at += width
            out["action"] = slice(at, at + case.actions)
            self.columns.append(out)

    def hidden(self, p, l, from_obs, below, carried):
        n, k = f"l{l + 1}/h/", self.columns[l]
        w = p[n + "linear/weight"]
        x, rest = [carried[l]], [w[:, k["self"]]]
        if l > 0:
            x.append(below), rest.append(w[:, k["below"]])
        if l + 1 < len(self.columns):
            x.append(carried[l + 1]), rest.append(w[:, k["top"]])
        a = from_obs + torch.cat(x, -1) @ torch.cat(rest, 1).T + p[n + "linear/bias"]
        return layer_norm(torch.relu(a), p[n + "layer_norm/scale"], p[n + "layer_norm/offset"])

    def stack(self, p, from_obs, carried):
        hs, below = [], None
        for l, o in enumerate(torch.split(from_obs, self.c.widths, -1)):
            below = self.hidden(p, l, o, below, carried)
            hs.append(below)
        return hs

    def from_observations(self, p, obs):
        w = torch.cat([p[f"l{l + 1}/h/linear/weight"][:, k["obs"]] for l, k in enumerate(self.columns)], 0)
        return obs @ w.T

    def context(self, p, from_obs, steps):
        carried = [from_obs.new_zeros(from_obs.shape[1], d) for d in self.c.widths]
        for t in range(steps):
            carried = self.stack(p, from_obs[t], carried)
        return carried

    def x_of(self, l, obs, hs, carried):
        parts = ([hs[l - 1]] if l else []) + [obs, carried[l]]
        return torch.cat(parts + ([carried[l + 1]] if l + 1 < len(self.columns) else []), -1)

    def products(self, p, l, x):
        return [x @ p[f"l{l + 1}/{z}/linear/weight"][:, :x.shape[-1]].T for z in ("z1", "z2")]

    def value(self, p, l, zx, action, h):
        k, d = self.columns[l]["action"], self.c.widths[l]
        z1, z2 = ((a + p[f"l{l + 1}/{z}/linear/weight"][:, k].T[action]).reshape(-1, self.c.heads, d)
                  for a, z in zip(zx, ("z1", "z2")))
        return self.goodness(z1, z2, h)

    def goodness(self, z1, z2, h):
        """the value, of [N, heads, d] twice and [N, d]"""
        return std(attend(z1, z2, h))

    def losses(self, p, target, batch):
        c = self.c
        obs, next_obs = batch["obs"], batch["next_obs"]
        C, B = obs.shape[0] - 1, obs.shape[1]
        losses, records = {}, {}
        frozen = {k: v.detach() for k, v in p.items()}
        with torch.no_grad():
            every = torch.cat([obs, next_obs[None]], 0)
            o, to = self.from_observations(frozen, every), self.from_observations(target, every)
            before = self.context(frozen, o, C)
            now = self.stack(frozen, o[C], before)
            target_now = self.context(target, to, C + 1)
            next_h, target_h = self.stack(frozen, o[C + 1], now), self.stack(target, to[C + 1], target_now)
        for l in range(len(c.widths)):
            n = f"l{l + 1}"
            with torch.no_grad():
                zx = self.products(frozen, l, self.x_of(l, next_obs, next_h, now))
                q = [self.value(frozen, l, zx, torch.full((B,), a), next_h[l]) for a in range(c.actions)]
                next_q = torch.stack(q, -1)
                best = torch.argmax(next_q, -1)
                zt = self.products(target, l, self.x_of(l, next_obs, target_h, target_now))
                target_q = self.value(target, l, zt, best, target_h[l])
                td = batch["reward"] + (1 - batch["terminated"]) * c.gamma * target_q
            o_l = obs[C] @ p[f"{n}/h/linear/weight"][:, self.columns[l]["obs"]].T
            h = self.hidden(p, l, o_l, now[l - 1] if l else None, before)
            zx = self.products(p, l, self.x_of(l, obs[C], now, before))
            q = self.value(p, l, zx, batch["action"], h)
            losses[n] = torch.mean((q - td) ** 2)
            records.update({n + "/q_taken": q.detach(), n + "/next_q": next_q, n + "/target_next_q_best": target_q,
                            n + "/td_target": td})
        return losses, records
