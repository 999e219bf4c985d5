#!/bin/sh
# Installs what tests/real_clients and tests/smuggling drive: packages of Python and Node, clients and servers in Go,
# and h2spec, all under target/clients. Does nothing where the last installation was of the same files.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
into=${1:-$here/../../target/clients}
mkdir -p "$into"
into=$(CDPATH= cd -- "$into" && pwd)

for tool in curl python3 node npm go javac; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "tests/clients/install.sh: $tool is missing (Debian: apt-get install curl python3-venv nodejs npm golang-go default-jdk-headless)" >&2
        exit 1
    }
done

# Two tests that start at once must not install at once.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$into/lock"
    flock 9
fi
wanted=$(cat "$here/install.sh" "$here/requirements.txt" "$here/package.json" "$here"/go/* "$here"/grpc/* "$here"/h2spec/* | sha256sum)
if [ "$(cat "$into/installed" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi

rm -f "$into/installed"
[ -x "$into/venv/bin/python" ] || python3 -m venv "$into/venv"
"$into/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
mkdir -p "$into/node"
cp "$here/package.json" "$into/node/package.json"
npm install --prefix "$into/node" --silent --no-audit --no-fund --no-package-lock
(cd "$here/go" && go build -o "$into/go-client" .)
(cd "$here/grpc" && go build -o "$into/grpc-go" .)
(cd "$here/h2spec" && go build -o "$into/h2spec" github.com/summerwind/h2spec/cmd/h2spec)
printf '%s\n' "$wanted" >"$into/installed"
