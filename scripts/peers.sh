#!/bin/sh
# Installs the Debian packages that tests need, as root on Debian; elsewhere prints which are missing.
# With CLEARLINE_PEERS=required a missing package is an error.
set -u
cd "$(dirname "$0")/.." || exit 1

missing_packages() {
  while read -r package program; do
    case "$package" in "#"* | "") continue ;; esac
    # shellcheck disable=SC2086
    set -- $program
    [ -e "$1" ] || printf ' %s' "$package"
  done <test/packages.txt
}

missing=$(missing_packages)
[ -z "$missing" ] && exit 0

is_debian() {
  [ -r /etc/os-release ] && grep -q '^ID=debian$' /etc/os-release && command -v apt-get >/dev/null 2>&1
}

# Debian starts services when it installs them, such as nginx. A policy-rc.d that exits with 101 forbids it.
install_packages() {
  policy=/usr/sbin/policy-rc.d
  log=$(mktemp) || return 1
  trap 'rm -f "$log" ${made:-}' EXIT
  trap 'exit 130' INT TERM
  if [ ! -e "$policy" ]; then
    made=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  # shellcheck disable=SC2086
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
    >"$log" 2>&1 </dev/null || { tail -n 20 "$log" >&2; return 1; }
}

if [ "$(id -u)" = 0 ] && is_debian; then
  echo "Installing Debian packages that tests need:$missing" >&2
  install_packages || echo "apt-get could not install them: see its last lines above." >&2
  missing=$(missing_packages)
  [ -z "$missing" ] && exit 0
fi

if [ "${CLEARLINE_PEERS:-}" = required ]; then
  echo "Cannot test: CLEARLINE_PEERS=required, and these Debian packages are missing:$missing" >&2
  exit 1
fi
echo "Tests that need these Debian packages will be skipped:$missing (as root: apt-get install$missing)" >&2
