#!/bin/sh
# Three network namespaces in a row, and one `neighbours` in each:
#
#   left ── IPv4 alone ── middle ── IPv6 alone ── right
#
# Run inside of `unshare --map-root-user --net`. Leaves with 77 if there are no such cables here.
# Tells on stderr who said what.
set -eu
neighbours=$1
command -v ip nsenter >/dev/null || exit 77
said=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null; rm -r "$said"' EXIT

# A namespace at the other end of a cable: its process is $ns.
cable() {
    near=$1 ours=$2 theirs=$3
    ip link add "$near" type veth peer name far || exit 77
    unshare --net sleep 60 &
    ns=$!
    pids="$pids $ns"
    # Until the other namespace is there, the cable's end cannot be moved to it.
    while [ "$(readlink /proc/$ns/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
    ip link set far netns "$ns"
    # Without addresses that the system makes: each cable has one family.
    up="ip link set lo up && ip link set \$1 addrgenmode none && ip link set \$1 up && ip addr add \$2 dev \$1"
    sh -c "$up" up "$near" "$ours"
    nsenter --target "$ns" --net sh -c "$up" up far "$theirs"
}
cable v4 10.9.0.1/24 10.9.0.2/24
left=$ns
cable v6 fd09::1/64 fd09::2/64
right=$ns

nsenter --target "$left" --net "$neighbours" >"$said/left" &
pids="$pids $!"
nsenter --target "$right" --net "$neighbours" >"$said/right" &
pids="$pids $!"
done=0
"$neighbours" 2 20 >"$said/middle" || done=$?
for name in left middle right; do
    sed "s/^/$name /" "$said/$name" >&2
done
exit "$done"
