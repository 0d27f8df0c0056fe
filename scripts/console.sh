#!/bin/sh
# Builds the web console into console/dist, when it is missing or its sources have changed. Otherwise prints nothing.
set -u
cd "$(dirname "$0")/.." || exit 1

stamp=console/dist/.built
wanted=$({ find console/src console/public console/index.html console/vite.config.ts src/control/api.ts -type f -exec cksum {} + | sort -k 3; cat package-lock.json; } | cksum) || exit 1
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

PATH="$PWD/node_modules/.bin:$PATH"
if log=$(cd console && vite build --logLevel warn 2>&1); then
  echo "$wanted" >"$stamp"
  echo "Built the console." >&2
else
  # The node works without it.
  printf '%s\nCannot build the console: see the message above. The API and the command line work without it.\n' "$log" >&2
fi
