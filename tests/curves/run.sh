#!/bin/sh
# Learning like the reference: seeds 1 to 6 of two games, and 1 to 3 of reacher-easy, at the reduced
# setting of the recorded curves.
#
#   CELLC_REFERENCE=DATA tests/curves/run.sh OUT [option of `cellc train` ...]
#
# Runs that OUT has already are kept, so more seeds can be added: SEEDS="7 8 9 10 11 12". Two runs at a
# time on one thread each (JOBS=2). GAMES (breakout space_invaders reacher_easy), SEEDS, JOBS and CELLC
# may be set. Not part of CI: it takes half an hour or so. Ends with the comparison (compare.py), whose
# exit code it returns. With options after OUT the runs differ from the recorded ones on purpose: to show
# what the comparison can see.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:?"usage: run.sh OUT [option ...]"}
shift
: "${CELLC_REFERENCE:?set it to the folder of the recorded data}"
cellc=${CELLC:-$root/build/cellc}
mkdir -p "$out"

for game in ${GAMES:-breakout space_invaders reacher_easy}; do
  seeds="1 2 3 4 5 6"
  if [ "$game" = reacher_easy ]; then seeds="1 2 3"; fi
  for seed in ${SEEDS:-$seeds}; do
    # a finished run has left its name
    if [ ! -s "$out/$game-$seed.folder" ]; then echo "$game $seed"; fi
  done
done | xargs -r -n 2 -P "${JOBS:-2}" sh -c '
  cellc=$1 out=$2 root=$3 game=$4 seed=$5; shift 5
  case $game in
    reacher_easy) network=arq_dmc env=dmc/reacher-easy ;;
    *) network=arq env=minatar/$game ;;
  esac
  "$cellc" train "$root/examples/$network.cell" --env "$env" --variant small \
    --set train.compat=arq2026 --seed "$seed" --threads 1 --runs "$out" --quiet '"$*"' \
    > "$out/$game-$seed.part" && mv "$out/$game-$seed.part" "$out/$game-$seed.folder"
' sh "$cellc" "$out" "$root"

python3 "$here/compare.py" "$out" "$CELLC_REFERENCE/curves"
