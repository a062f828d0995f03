#!/usr/bin/env python3
"""Compares training runs with recorded ones: compare.py OUT CURVES

OUT has GAME-SEED.folder files (each names a run's folder), as run.sh leaves them; CURVES has
GAME-SEED.csv. Per run: the mean return over all training episodes and over the last 100 (of
reacher_easy, which has 100: the last 20). Per game: Welch's test on both, the ratio of the whole-run
means (bounded for the games), the ratio of the spreads. Exit code 5 if a bound is passed. Needs
nothing but Python 3."""

import csv
import glob
import math
import os
import re
import sys

# how far the whole-run means may differ; of three runs of reacher_easy no such bound would mean much
RATIO = {"breakout": 0.12, "space_invaders": 0.20, "reacher_easy": math.inf}
LAST = {"reacher_easy": 20}
LEAST_P = 0.01
MOST_SPREAD = 2.0


def returns(path):
    with open(path, newline="") as file:
        return [float(row["return"]) for row in csv.DictReader(file)]


def mean(values):
    return sum(values) / len(values)


def deviation(values):
    m = mean(values)
    return math.sqrt(sum((v - m) ** 2 for v in values) / (len(values) - 1))


def incomplete_beta(a, b, x):
    """I_x(a, b), by the continued fraction (Lentz's method)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
                     + a * math.log(x) + b * math.log(1 - x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    result = d
    for m in range(1, 500):
        for numerator in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                          -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 / (1 + numerator * d or tiny)
            c = 1 + numerator / c or tiny
            result *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * result


def welch(a, b):
    """Two-sided p of equal means, variances not assumed equal."""
    va, vb = deviation(a) ** 2 / len(a), deviation(b) ** 2 / len(b)
    if va + vb == 0:
        return 1.0 if mean(a) == mean(b) else 0.0
    t2 = (mean(a) - mean(b)) ** 2 / (va + vb)
    df = (va + vb) ** 2 / (va ** 2 / (len(a) - 1) + vb ** 2 / (len(b) - 1))
    return incomplete_beta(df / 2, 0.5, df / (df + t2))


def last_of(game):
    return LAST.get(game, 100)


def collect(pattern, to_csv):
    games = {}
    for path in sorted(glob.glob(pattern)):
        match = re.fullmatch(r"(.+)-(\d+)\.\w+", os.path.basename(path))
        if match:
            values = returns(to_csv(path))
            last = values[-last_of(match[1]):]
            games.setdefault(match[1], {})[int(match[2])] = (mean(values), mean(last))
    return games


def episodes_of(path):
    with open(path) as file:
        return os.path.join(file.read().strip(), "episodes.csv")


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: compare.py OUT CURVES")
    ours = collect(os.path.join(sys.argv[1], "*.folder"), episodes_of)
    recorded = collect(os.path.join(sys.argv[2], "*.csv"), lambda path: path)
    good = True
    for game in sorted(ours):
        if game not in recorded:
            continue
        print(f"{game}: {len(ours[game])} runs, {len(recorded[game])} recorded")
        end = f"last {last_of(game)}"
        for seed, (whole, last) in sorted(ours[game].items()):
            print(f"  seed {seed:3}  all episodes {whole:8.3f}   {end} {last:8.3f}")
        for index, name in enumerate(("all episodes", end)):
            a = [v[index] for v in ours[game].values()]
            b = [v[index] for v in recorded[game].values()]
            if len(a) < 2:
                print(f"  {name:12}  {mean(a):8.3f}   recorded {mean(b):8.3f} +- {deviation(b):.3f}")
                continue
            p, ratio = welch(a, b), mean(a) / mean(b)
            spread = deviation(a) / deviation(b)
            bound = RATIO.get(game, 0.2) if index == 0 else math.inf
            fine = p > LEAST_P and abs(ratio - 1) <= bound and spread <= MOST_SPREAD
            good &= fine
            print(f"  {name:12}  {mean(a):8.3f} +- {deviation(a):.3f}   recorded {mean(b):8.3f} +- "
                  f"{deviation(b):.3f}   p {p:.4f}   ratio {ratio:.3f}   spread {spread:.2f}   "
                  f"{'ok' if fine else 'FAILED'}")
    sys.exit(0 if ours and good else 5)


if __name__ == "__main__":
    main()
