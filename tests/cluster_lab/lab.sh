#!/bin/bash
# lab.sh - a small multi-host lab on one Linux machine, made of namespaces.
#
# Each host K (1..N) has its own network, PID, mount, UTS and IPC namespace,
# its own /tmp, /dev/shm, /run, /root and sshd. Host 0 ("laptop") shares the
# root network namespace (10.99.0.1) and has no sshd: run `ray up` from there.
# Packets never leave the machine: the bridge has no uplink and the hosts'
# default route ends in their own loopback device.
#
# STATE/shared is a disk that all hosts see at that path, like a network share:
# it can be made read-only for one host and full for all hosts.
set -u

LAB=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
STATE=${LAB_STATE:-/var/tmp/cluster_lab}   # everything `down` removes; not under /tmp or /root
NET=${LAB_NET:-10.99.0}               # a /24; .1 is the root namespace
BR=${LAB_BRIDGE:-labbr0}
TAG=${LAB_TAG:-lab}                   # prefix of namespaces, devices, host names
NICE=${LAB_NICE:-10}
SHM=${LAB_SHM:-512m}                  # /dev/shm of each host
TMPSZ=${LAB_TMP:-4g}                  # /tmp of each host
SHARED=${LAB_SHARED:-1g}              # the disk that all hosts share
# Folders under /tmp, /root or /run that every host must see where they are
# (the base of the virtual environment's Python, a checkout in /tmp, ...).
SHARE=${LAB_SHARE:-"$(python3 -c 'import sys; print(sys.base_prefix)')"}

log()  { printf 'lab: %s\n' "$*" >&2; }
die()  { log "$*"; exit 1; }
ip_of()   { echo "$NET.$((10 + $1))"; }
name_of() { echo "$TAG$1"; }
hdir()    { echo "$STATE/hosts/$1"; }
hosts()   { ls "$STATE/hosts" 2>/dev/null | sort -n; }

# A host's init is known by its pid AND its start time, so that a recycled pid
# is never mistaken for it.
start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
init_pid() {
    local pid start
    { read -r pid start < "$(hdir "$1")/init"; } 2>/dev/null || return 1
    [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ] && echo "$pid"
}

make_keys() {
    mkdir -p "$STATE/keys" && chmod 700 "$STATE/keys"
    [ -e "$STATE/keys/id" ] || ssh-keygen -q -t ed25519 -N '' -C lab -f "$STATE/keys/id"
    [ -e "$STATE/keys/host" ] || ssh-keygen -q -t ed25519 -N '' -C labhost -f "$STATE/keys/host"
    cat > "$STATE/sshd_config" <<C
Port 22
HostKey $STATE/keys/host
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100
MaxSessions 100
PidFile /run/sshd.pid
C
    cat > "$STATE/ssh_config" <<C
Host $NET.*
    User root
    IdentityFile $STATE/keys/id
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
C
}

make_shared() {         # before any host starts: a host keeps the mounts that exist when it starts
    mkdir -p "$STATE/shared"
    mountpoint -q "$STATE/shared" || mount -t tmpfs -o "size=$SHARED,mode=1777" labshared "$STATE/shared"
}

make_bridge() {
    ip link show "$BR" >/dev/null 2>&1 && return
    ip link add "$BR" type bridge || die "no bridge"
    ip addr add "$NET.1/24" dev "$BR"
    ip link set "$BR" up
}

make_net() {            # make_net K: namespace, veth, address, dead-end default route
    local k=$1 ns dev
    ns=$(name_of "$k") dev=v$TAG$k
    ip netns add "$ns" || return 1
    ip link add "$dev" type veth peer name eth0 netns "$ns"
    ip link set "$dev" master "$BR" up
    ip -n "$ns" link set lo up
    ip -n "$ns" addr add "$(ip_of "$k")/24" dev eth0
    ip -n "$ns" link set eth0 up
    # Ray finds its own address by asking the kernel for the route to 8.8.8.8.
    # This route gives the right answer and drops the packets.
    ip -n "$ns" route add default dev lo src "$(ip_of "$k")"
}

make_home() {           # the host's private /root, like that of a new Debian user
    local k=$1 h d; h=$(hdir "$k")
    mkdir -p "$h/root/.ssh" "$h/root/.ray" && chmod 700 "$h/root" "$h/root/.ssh"
    cp "$STATE/keys/id.pub" "$h/root/.ssh/authorized_keys"
    cp "$STATE/ssh_config" "$h/root/.ssh/config"
    chmod 600 "$h/root/.ssh/"*
    [ -e "$h/root/.bashrc" ] || cp /etc/skel/.bashrc "$h/root/.bashrc"
    [ -e "$h/root/.profile" ] || cp /etc/skel/.profile "$h/root/.profile"
    for d in $SHARE; do case $d in /root/*) mkdir -p "$h$d";; esac; done
    { echo "127.0.0.1 localhost"; for d in 1 2 3 4 5 6 7 8 9; do
        echo "$(ip_of $d) $(name_of $d)"; done; echo "$NET.1 ${TAG}0"; } > "$h/etc_hosts"
    echo "nameserver 127.0.0.1" > "$h/resolv"
}

boot() {                # boot K: start (again) a host that is off
    local k=$1 h pre=() i; h=$(hdir "$k")
    init_pid "$k" >/dev/null && { log "host $k is up"; return; }
    mkdir -p "$h"; make_home "$k"; rm -f "$h/init"
    if [ "$k" != 0 ]; then
        ip netns list | grep -qw "^$(name_of "$k")" || make_net "$k" || die "no net for $k"
        ip link set "v$TAG$k" up
        pre=(ip netns exec "$(name_of "$k")")
    fi
    setsid nice -n "$NICE" "${pre[@]}" unshare --mount --uts --ipc --pid --fork --kill-child \
        env -i PATH="$PATH" TERM=dumb LANG=C.UTF-8 HOME=/root LAB_STATE="$STATE" LAB_NET="$NET" \
        LAB_TAG="$TAG" LAB_SHM="$SHM" LAB_TMP="$TMPSZ" LAB_SHARE="$SHARE" \
        bash "$LAB/lab.sh" __init "$k" </dev/null >"$h/init.log" 2>&1 &
    for i in $(seq 100); do
        [ -e "$h/ready" ] && [ -n "$(init_pid "$k")" ] && return
        sleep 0.1
    done
    cat "$h/init.log" >&2; die "host $k did not start"
}

as_init() {             # runs as PID 1 of the host
    local k=$1 h pid rest d; h=$(hdir "$k")
    read -r pid rest < /proc/self/stat         # the outer /proc still: the outer pid
    rm -f "$h/ready"
    echo "$pid $(start_time "$pid")" > "$h/init"
    mount --make-rprivate /
    hostname "$(name_of "$k")"
    mkdir -p "$h/tmp" && mount -t tmpfs -o "size=$TMPSZ,mode=1777" labtmp "$h/tmp"
    for d in $SHARE; do
        case $d in
            /tmp/*)  mkdir -p "$h$d" && mount --bind "$d" "$h$d";;
            /root/*) mkdir -p "$h$d" && mount --bind "$d" "$h$d";;
        esac
    done
    mount --bind "$h/etc_hosts" /etc/hosts
    [ "$k" = 0 ] || mount --bind "$h/resolv" /etc/resolv.conf
    mount --rbind "$h/root" /root
    mount -t tmpfs -o "size=$SHM,mode=1777" labshm /dev/shm
    mount -t tmpfs -o size=64m,mode=755 labrun /run
    mkdir -p /run/sshd /run/lock
    mount --rbind "$h/tmp" /tmp
    mount -t proc proc /proc
    cd /root || exit 1
    [ "$k" = 0 ] || /usr/sbin/sshd -f "$STATE/sshd_config" -E "$h/sshd.log"
    touch "$h/ready"
    trap 'exit 0' TERM
    # bash as PID 1 reaps orphans (ray's daemons)
    while :; do sleep 3600 & wait $!; done
}

enter() {               # enter K CMD...: run CMD inside the host, without the network
    local k=$1 pid; shift
    pid=$(init_pid "$k") || die "host $k is off"
    exec nsenter -t "$pid" -m -u -i -n -p nice -n "$NICE" \
        env -i PATH="$PATH" TERM="${TERM:-dumb}" LANG=C.UTF-8 HOME=/root USER=root SHELL=/bin/bash \
        bash -c 'cd /root; exec "$@"' lab "$@"
}

kill_host() {
    local k=$1 pid i; pid=$(init_pid "$k") || { log "host $k is off"; return 0; }
    kill -KILL "$pid"                          # the kernel ends the whole PID namespace
    for i in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.05; done
    rm -f "$(hdir "$k")/init" "$(hdir "$k")/ready"
}

case ${1:-} in
up)
    n=${2:-3}; case $n in [1-9]) ;; *) die "up N, N from 1 to 9";; esac
    [ "$(id -u)" = 0 ] || die "needs root"
    for c in ip nsenter unshare rsync ssh /usr/sbin/sshd; do
        command -v "$c" >/dev/null || die "$c is missing (apt-get install openssh-server rsync iproute2)"; done
    mkdir -p "$STATE/hosts"; make_keys; make_shared; make_bridge
    for k in $(seq 0 "$n"); do boot "$k"; done
    for k in $(seq 1 "$n"); do
        for i in $(seq 50); do
            ssh -F "$STATE/ssh_config" -o ConnectTimeout=2 "$(ip_of "$k")" true 2>/dev/null && break
            sleep 0.1
        done
    done
    "$0" status;;
boot)   boot "$2";;
down)
    for k in $(hosts); do kill_host "$k"; done 2>/dev/null
    for k in $(hosts); do
        ip link del "v$TAG$k" 2>/dev/null; ip netns del "$(name_of "$k")" 2>/dev/null; done
    ip link del "$BR" 2>/dev/null
    for i in $(seq 20); do umount "$STATE/shared" 2>/dev/null; mountpoint -q "$STATE/shared" || break; sleep 0.1; done
    grep -q " $STATE/" /proc/self/mountinfo && die "mounts left under $STATE; not removed"
    rm -rf --one-file-system "$STATE"; log "down";;
kill)   kill_host "$2";;                       # processes die; the kernel sends FIN/RST
crash)  ip link set "v$TAG$2" down; kill_host "$2";;   # power cut: no connection is closed
cut)    ip link set "v$TAG$2" down;;
heal)   ip link set "v$TAG$2" up;;
ro|rw)  # remount: works although files are open for writing
    pid=$(init_pid "$2") || die "host $2 is off"
    nsenter -t "$pid" -m mount -o "remount,bind,$1" "$STATE/shared";;
fill)   dd if=/dev/zero of="$STATE/shared/.filler" bs=1M status=none 2>/dev/null; :;;
drain)  rm -f "$STATE/shared/.filler";;
exec)   shift; enter "$@";;
ssh)    k=$2; shift 2; exec ssh -F "$STATE/ssh_config" "$(ip_of "$k")" "$@";;
status)
    for k in $(hosts); do
        pid=$(init_pid "$k") && up=up || up=off
        net=root; [ "$k" = 0 ] || net=$(ip -br link show "v$TAG$k" 2>/dev/null | awk '{print $2}')
        n=0; [ "$up" = up ] && n=$(nsenter -t "$pid" -m -p ls /proc | grep -c '^[0-9]')
        printf '%s %-8s %-11s %-4s net=%-6s pid1=%-7s processes=%s\n' "$k" "$(name_of "$k")" \
            "$([ "$k" = 0 ] && echo "$NET.1" || ip_of "$k")" "$up" "${net:-none}" "${pid:--}" "$n"
    done;;
__init) as_init "$2";;
*) sed -n '2,9p' "$0"; echo "verbs: up N | down | boot K | kill K | crash K | cut K | heal K | ro K | rw K | fill | drain | exec K CMD... | ssh K CMD... | status"; exit 2;;
esac
