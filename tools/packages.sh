# packages.sh: what Debian 12 packages the project needs, and how to get those that are missing. Sourced.

build_packages=(gcc libc6-dev cmake ninja-build pkg-config liburing-dev libjemalloc-dev libroaring-dev libxxhash-dev liblzf-dev libisal-dev libssl-dev)
test_packages=(libcriterion-dev redis-server redis-tools python3 python3-pytest python3-redis python3-hypothesis)
check_packages=(clang libclang-rt-14-dev clang-format clang-tidy llvm)
bench_packages=(redis-server memcached python3-matplotlib)
# Node 18 or newer runs the JavaScript clients; Debian's is taken only where there is none.
node_packages=(nodejs npm ca-certificates)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
    local p
    for p in "$@"; do
        # jemalloc, xxhash and others may have been installed under another version: ask dpkg, not PATH
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
    done
}

# need_packages NAME...: installs those that are missing. A server among them must not be started, nor
# be enabled for the next boot: it would sit on the port that Anax wants.
need_packages() {
    local missing guard=/usr/sbin/policy-rc.d ours=no status=0 p
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} = 0 ] && return 0
    if ! command -v apt-get >/dev/null; then
        echo "these Debian packages are needed: ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}" >&2
    if [ ! -e $guard ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $guard >/dev/null
        as_root chmod 755 $guard
        ours=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 || status=$?
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" \
        >&2 || status=$?
    [ $ours = yes ] && as_root rm -f $guard
    for p in "${missing[@]}"; do
        case $p in redis-server | memcached)
            if command -v systemctl >/dev/null; then
                as_root systemctl disable --quiet "$p" 2>/dev/null || true
            fi ;;
        esac
    done
    return $status
}

# need_node: a node of 18 or newer, and npm.
need_node() {
    local major
    major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
    if [ "${major:-0}" -ge 18 ] && command -v npm >/dev/null; then return 0; fi
    need_packages "${node_packages[@]}"
}

# configure PRESET [cmake arguments]: makes build/PRESET, with ccache where there is one.
configure() {
    local preset=$1
    shift
    local launcher=()
    command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    cmake --preset "$preset" "${launcher[@]}" "$@" >/dev/null
}
