#!/bin/sh
# Builds the demo's page and the playground into web/demo/dist and prints the tag that embeds it; prints
# nothing, and one line to stderr, where it cannot be built. Built anew only if
# something it is made of is newer.
cd "$(dirname "$0")/demo" || exit 1
without() {
  echo "no demo page: $1; the rest is served" >&2
  exit 0
}
command -v node >/dev/null && command -v npm >/dev/null || without "Node 20 or newer is missing (https://nodejs.org)"
[ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || without "node is $(node -v), it needs 20 or newer (https://nodejs.org)"
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  echo "installing the packages of web/demo" >&2
  npm ci --no-audit --no-fund --loglevel=error </dev/null >&2 || without "npm ci failed in web/demo"
  touch node_modules/.package-lock.json
fi
if [ ! -f dist/index.html ] || [ -n "$(find . ../client/src -path ./node_modules -prune -o -path ./dist -prune -o -path ./test -prune -o -type f -newer dist/index.html -print)" ]; then
  npm run build --silent </dev/null >&2 || without "its build failed"
fi
echo demo
