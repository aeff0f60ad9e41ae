#!/bin/sh
# Two network namespaces with a cable between them, and one `neighbours` in each.
# Run inside of `unshare --map-root-user --net`. Leaves with 77 if there are no such cables here.
set -eu
neighbours=$1
ip link set lo up
ip link add v0 type veth peer name v1 || exit 77
unshare --net sleep 60 &
other=$!
trap 'kill $other' EXIT
# Until the other namespace is there, the cable's end cannot be moved to it.
while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set v1 netns "$other"
ip addr add 10.9.0.1/24 dev v0
ip link set v0 up
nsenter --target "$other" --net sh -c \
    'ip link set lo up && ip addr add 10.9.0.2/24 dev v1 && ip link set v1 up'
"$neighbours" 1 20 >&2 &
near=$!
nsenter --target "$other" --net "$neighbours" 1 20 >&2
wait "$near"
