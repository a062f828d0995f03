#!/bin/sh
# Does it learn to control? Walker-walk and cartpole-swingup, seeds 1 to 3, at the reduced setting: the
# return of 20 greedy episodes of the trained network beside the untrained one's and random actions'.
#
#   tests/curves/control.sh OUT [option of `cellc train` ...]
#
# Runs that OUT has already are kept. TASKS, SEEDS, STEPS, JOBS (2 at a time, one thread each) and CELLC
# may be set. Not part of CI. Needs Python 3 to read JSON.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:?"usage: control.sh OUT [option ...]"}
shift
cellc=${CELLC:-$root/build/cellc}
mkdir -p "$out"
tasks=${TASKS:-cartpole-swingup walker-walk}
seeds=${SEEDS:-1 2 3}
export STEPS="${STEPS:-100e3}"

# the untrained network is that of a run that ends after its first step
for task in $tasks; do
  for seed in $seeds; do
    for when in untrained trained; do
      if [ ! -s "$out/$task-$seed-$when.folder" ]; then echo "$task $seed $when"; fi
    done
  done
done | xargs -r -n 3 -P "${JOBS:-2}" sh -c '
  cellc=$1 out=$2 root=$3 task=$4 seed=$5 when=$6; shift 6
  steps=$STEPS
  if [ "$when" = untrained ]; then steps=1; fi
  "$cellc" train "$root/examples/arq_dmc.cell" --env "dmc/$task" --variant small --seed "$seed" \
    --set "train.steps=$steps" --threads 1 --runs "$out/$when" --quiet '"$*"' \
    > "$out/$task-$seed-$when.part" && mv "$out/$task-$seed-$when.part" "$out/$task-$seed-$when.folder"
' sh "$cellc" "$out" "$root"

printf '%-20s %4s  %19s  %19s  %19s\n' task seed trained untrained random
for task in $tasks; do
  for seed in $seeds; do
    printf '%-20s %4s' "$task" "$seed"
    for row in "trained 0" "untrained 0" "untrained 1"; do
      set -- $row
      "$cellc" eval "$(cat "$out/$task-$seed-$1.folder")" --episodes 20 --epsilon "$2" --json |
        python3 -c 'import json, sys
r = json.load(sys.stdin)["results"][0]
print("  %9.2f +- %6.2f" % (r["mean"], r["deviation"]), end="")'
    done
    printf '\n'
  done
done
