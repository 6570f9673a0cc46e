#!/usr/bin/env bash
# Runs PostgreSQL, Redis and the stand-in for Solr, and ends them, by pid, as soon as the owner is gone, together with
# each CKAN that is left. Usage: guardian.sh OWNER_PID DIR LEFT PG_BIN PG_PORT PYTHON SOLR SOLR_PORT [COMMAND…]
# DIR is removed at the end, LEFT is where logs stay; COMMAND… makes another user of us where PostgreSQL asks for one.
set -m # each job is a process group of its own, so that it can be ended by that number

owner=$1 dir=$2 left=$3 pg_bin=$4 pg_port=$5 python=$6 solr_script=$7 solr_port=$8
shift 8
as_postgres=("$@")

# When the owner was born: a pid alone may have been given to somebody else.
born() { sed 's/.*) //' "/proc/$owner/stat" 2>/dev/null | cut -d' ' -f20; }
first=$(born)
owner_lives() { kill -0 "$owner" 2>/dev/null && [ "$(born)" = "$first" ]; }

finish() {
    exec 2>/dev/null # most of it may be gone already
    trap '' TERM INT HUP
    for file in "$dir"/sites/*/*.pid; do
        pid=$(cat "$file") && grep -q "$dir" "/proc/$pid/cmdline" && kill -KILL -- "-$pid"
    done
    # SIGQUIT is PostgreSQL's way to end at once and to leave no shared memory behind.
    kill -QUIT "$postgres" && wait "$postgres"
    kill -KILL -- "-$redis" "-$solr"
    wait
    rm -rf "$dir" "$left/bed.json"
    # The logs stay, for whoever reads why a test failed.
    : > "$left/ended"
    exit 0
}
trap finish TERM INT HUP

cd "$dir" || exit 1
if [ ${#as_postgres[@]} -gt 0 ]; then chown -R postgres pg; fi
(
    cd pg && exec "${as_postgres[@]}" "$pg_bin/initdb" -D "$dir/pg/files" --username=ckan --auth=scram-sha-256 \
        --pwfile="$dir/pg/password" --encoding=UTF8 --locale=C.UTF-8 --no-sync
) > "$left/log/initdb.log" 2>&1 < /dev/null || finish

cd pg || finish
"${as_postgres[@]}" "$pg_bin/postgres" -D "$dir/pg/files" -p "$pg_port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c fsync=off -c full_page_writes=off -c shared_buffers=32MB -c max_connections=300 \
    > "$left/log/postgres.log" 2>&1 < /dev/null & postgres=$!
cd "$dir/redis" || finish
redis-server "$dir/redis/redis.conf" > "$left/log/redis.log" 2>&1 < /dev/null & redis=$!
cd "$dir" || finish
PYTHONDONTWRITEBYTECODE=1 "$python" "$solr_script" "$solr_port" > "$left/log/solr.log" 2>&1 < /dev/null & solr=$!

while owner_lives && kill -0 "$postgres" && kill -0 "$redis" && kill -0 "$solr"; do
    sleep 0.3 & wait $!
done
finish
