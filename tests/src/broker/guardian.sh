#!/usr/bin/env bash
# Runs a private RabbitMQ node with its own epmd, and ends both, by pid, as soon as the owner is gone.
# Usage: guardian.sh OWNER_PID SERVER DIR, with the node's settings in the environment.
set -m # each job is a process group of its own, so that it can be ended by that number

owner=$1 server=$2 dir=$3

# When the owner was born: a pid alone may have been given to somebody else.
born() { sed 's/.*) //' "/proc/$owner/stat" 2>/dev/null | cut -d' ' -f20; }
first=$(born)
owner_lives() { kill -0 "$owner" 2>/dev/null && [ "$(born)" = "$first" ]; }

finish() {
    exec 2>/dev/null # most of it may be gone already
    trap '' TERM INT HUP
    # The node itself first: the server's script, its parent, then ends by itself and leaves no zombie.
    beam=$(cat "$dir/data/pid") && kill -KILL "$beam" && wait "$node"
    kill -KILL -- "-$node" "-$epmd"
    wait "$node" "$epmd"
    # The logs stay, for whoever reads why a test failed.
    rm -rf "$dir/data" "$dir/home" "$dir/node.json"
    : > "$dir/ended"
    exit 0
}
trap finish TERM INT HUP

# Kills the node, as the kernel does when memory is short, and starts it again on what it has left.
again() {
    kill -KILL "$(cat "$dir/data/pid")" 2>/dev/null
    wait "$node" 2>/dev/null
    "$server" >> "$dir/log/console.log" 2>&1 < /dev/null & node=$!
}
trap again USR1

epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" > "$dir/log/epmd.log" 2>&1 < /dev/null & epmd=$!
"$server" > "$dir/log/console.log" 2>&1 < /dev/null & node=$!

while owner_lives && kill -0 "$node" 2>/dev/null; do
    sleep 0.3 & wait $!
done
finish
