#!/bin/sh
# Installs the npm packages, Node itself among them, when they are missing or the lock file changed. Else says nothing.
set -u
cd "$(dirname "$0")/.." || exit 1

stamp=node_modules/.installed
wanted=$(cksum <package-lock.json) || exit 1

if [ -x node_modules/.bin/node ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi

fail() {
  echo "Cannot install: $1" >&2
  exit 1
}

case "$(uname -s) $(uname -m)" in
  "Linux x86_64" | "Linux aarch64") ;;
  *) fail "Clearline runs on Linux on x86_64 and aarch64; this is $(uname -s) on $(uname -m)." ;;
esac
command -v npm >/dev/null 2>&1 || fail "npm is not in PATH. Debian has it: apt-get install npm"

echo "Installing npm packages, Node 26 among them, into node_modules ..." >&2
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
# Not "npm ci": it refuses a lock file that lacks the optional packages of systems that Clearline does not run on.
if ! npm install --no-save --include=optional --include=dev --no-fund --no-audit --loglevel=error >"$log" 2>&1; then
  head -n 12 "$log" >&2
  case "$(cat "$log")" in
    *ENOTFOUND* | *EAI_AGAIN* | *ECONNREFUSED* | *ETIMEDOUT* | *ENETUNREACH*)
      fail "npm cannot reach its registry: see its message above." ;;
    *) fail "npm install failed: see its message above." ;;
  esac
fi

# The optional package that carries Node is left out without an error where it does not fit.
[ -x node_modules/.bin/node ] || fail "npm brought no node-linux package for this machine ($(uname -m))."
version=$(node_modules/.bin/node --version) || fail "node_modules/.bin/node does not run here: it needs glibc 2.28 or later."
echo "$wanted" >"$stamp"
echo "Installed, with Node ${version#v}." >&2
