#!/bin/sh
# Two network namespaces with a cable between them: 10.9.0.1 here, 10.9.0.2 there. Run inside of
# `unshare --map-root-user --net`. Says which processes are in them; ends with its standard input.
set -eu
ip link set lo up
ip link add v0 type veth peer name v1
unshare --net sleep 3600 &
far=$!
trap 'kill $far' EXIT
# Until the other namespace is there, the cable's end cannot be moved to it.
while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set v1 netns "$far"
ip addr add 10.9.0.1/24 dev v0
ip link set v0 up
# Some let the system choose the interface for a group.
ip route add 224.0.0.0/4 dev v0
nsenter --target "$far" --net sh -c 'ip link set lo up && ip addr add 10.9.0.2/24 dev v1 &&
    ip link set v1 up && ip route add 224.0.0.0/4 dev v1'
echo "{\"event\":\"network\",\"near\":\"$$\",\"far\":\"$far\"}"
cat > /dev/null
