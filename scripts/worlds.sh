#!/bin/sh
# Makes the worlds that the binary holds again: `scripts/worlds.sh STRAIT OUT [JOBS]`. Each takes a minute or two on one thread;
# JOBS (2 unless given) are made beside each other. What lies in OUT already is left as it is.
#
# The names say which speakers are common: `default` (liars 35 %, narrow ones 20 %), `middle` (15, 40), `narrow` (5, 50); in
# `contrast` worlds (25, 25) no document names its speaker, and they take four times as many steps to be told apart.
set -eu
strait=$1 out=$2 jobs=${3:-2}
# glibc would give the memory of every large tensor back to the system and fetch it again: a third of a step.
export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824
for name in default:0.35:0.2:0.5:1000 middle:0.15:0.4:0.5:1000 narrow:0.05:0.5:0.5:1000 contrast:0.25:0.25:1:4000; do
    for seed in 0 1 2; do
        IFS=: read -r kind liar narrow unknown steps <<EOF
$name
EOF
        test -e "$out/$kind-$seed" ||
            echo "--out $out/$kind-$seed --seed $seed --liar $liar --narrow $narrow --unknown $unknown --steps $steps"
    done
done | xargs -P "$jobs" -L 1 "$strait" world pretrain --half --threads 1
