"""The softmax and the gated cell in PyTorch, hand-optimised in the same way as ARQ."""

import torch

import arq_torch


def rms(y):
    return torch.sqrt(torch.mean(y * y, -1))


class Softmax(arq_torch.Hand):
    """softmax_attention.cell: ARQ's stack with another product and goodness"""

    def goodness(self, z1, z2, h):
        w = torch.softmax(torch.bmm(z2.transpose(1, 2), z1) * self.c.heads**-0.5, -1)
        return rms(torch.bmm(w, h[:, :, None])[:, :, 0])


class Gated(arq_torch.Torch):
    """gated.cell: a gated recurrent cell; a layer that sees the cell's state and the action"""

    GATES = ("r", "u", "v")

    def __init__(self, case, compiled=True):
        super().__init__(case, compiled)
        L, d, S = len(case.widths), case.widths, case.inputs
        self.columns = []
        for l in range(L):
            parts = {"obs": S} if l == 0 else {"below": d[l - 1], "obs": S}
            if l + 1 < L:
                parts["top"] = d[l + 1]
            parts["self"] = d[l]
            at, out = 0, {}
            for name, width in parts.items():
                out[name] = slice(at, at + width)
                at += width
            self.columns.append(out)

    def weight(self, p, l, gate, part):
        return p[f"l{l + 1}/{gate}/linear/weight"][:, self.columns[l][part]]

    def from_observations(self, p, obs):
        """what all gates of all cells read of an observation: one product"""
        w = [self.weight(p, l, gate, "obs") for l in range(len(self.columns)) for gate in self.GATES]
        b = [p[f"l{l + 1}/{gate}/linear/bias"] for l in range(len(self.columns)) for gate in self.GATES]
        return obs @ torch.cat(w, 0).T + torch.cat(b)

    def hidden(self, p, l, from_obs, below, carried):
        """from_obs: [B, 3 d]"""
        d = self.c.widths[l]
        shared = [(below, "below")] if l else []
        shared += [(carried[l + 1], "top")] if l + 1 < len(self.columns) else []
        r, u, v = torch.split(from_obs, d, -1)
        if shared:
            x = torch.cat([a for a, _ in shared], -1)
            w = torch.cat([torch.cat([self.weight(p, l, gate, part) for _, part in shared], 1)
                           for gate in self.GATES], 0)
            xr, xu, xv = torch.split(x @ w.T, d, -1)
            r, u, v = r + xr, u + xu, v + xv
        own = carried[l]
        w = torch.cat([self.weight(p, l, "r", "self"), self.weight(p, l, "u", "self")], 0)
        sr, su = torch.split(own @ w.T, d, -1)
        r, u = torch.sigmoid(r + sr), torch.sigmoid(u + su)
        v = torch.tanh(v + (r * own) @ self.weight(p, l, "v", "self").T)
        return (1 - u) * v + u * own

    def stack(self, p, from_obs, carried):
        hs, below = [], None
        for l, o in enumerate(torch.split(from_obs, [3 * d for d in self.c.widths], -1)):
            below = self.hidden(p, l, o, below, carried)
            hs.append(below)
        return hs

    def context(self, p, from_obs, steps):
        carried = [from_obs.new_zeros(from_obs.shape[1], d) for d in self.c.widths]
        for t in range(steps):
            carried = self.stack(p, from_obs[t], carried)
        return carried

    def layer(self, p, l, h):
        """y without the action's column, and the columns: [B, d], [A, d]"""
        n, d = f"l{l + 1}/y/linear/", self.c.widths[l]
        return h @ p[n + "weight"][:, :d].T + p[n + "bias"], p[n + "weight"][:, d:].T

    def losses(self, p, target, batch):
        c = self.c
        obs, next_obs = batch["obs"], batch["next_obs"]
        C = obs.shape[0] - 1
        losses, records = {}, {}
        frozen = {k: v.detach() for k, v in p.items()}
        with torch.no_grad():
            every = torch.cat([obs, next_obs[None]], 0)
            o, to = self.from_observations(frozen, every), self.from_observations(target, every)
            before = self.context(frozen, o, C)
            now = self.stack(frozen, o[C], before)
            target_now = self.context(target, to, C + 1)
            next_h, target_h = self.stack(frozen, o[C + 1], now), self.stack(target, to[C + 1], target_now)
        o = torch.split(self.from_observations(p, obs[C]), [3 * d for d in c.widths], -1)
        for l in range(len(c.widths)):
            n = f"l{l + 1}"
            with torch.no_grad():
                y, columns = self.layer(frozen, l, next_h[l])
                next_q = rms(y[:, None, :] + columns)
                best = torch.argmax(next_q, -1)
                y, columns = self.layer(target, l, target_h[l])
                target_q = rms(y + columns[best])
                td = batch["reward"] + (1 - batch["terminated"]) * c.gamma * target_q
            h = self.hidden(p, l, o[l], now[l - 1] if l else None, before)
            y, columns = self.layer(p, l, h)
            q = rms(y + columns[batch["action"]])
            losses[n] = torch.mean((q - td) ** 2)
            records.update({n + "/q_taken": q.detach(), n + "/next_q": next_q,
                            n + "/target_next_q_best": target_q, n + "/td_target": td})
        return losses, records
