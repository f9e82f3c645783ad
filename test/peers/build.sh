#!/usr/bin/env bash
# Gets the programs that the tests talk to. `test/peers/build.sh [debian|python|go|generate ...]`; without a name: debian and go.
#   debian    curl, nghttp, h2load, python3-grpcio, by apt-get, if one is missing (needs root); into .cache/python,
#             grpcio's clients of health and reflection, which Debian does not have
#   python    the same, for those who look for it by that name
#   go        grpc-go's interop client and server, grpcurl, h2spec, connectconformance, into .cache/go/bin, at the versions of go.mod
#   generate  the generated code under test/peers/gen and test/conformance/gen
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
go_module=$root/test/peers/go
go_bin=$root/.cache/go/bin
python_modules=$root/.cache/python
# As python3-grpcio of Debian 12 and 13; they are Python alone, and go with every grpcio from there on.
python_version=1.51.1
# Each Go knows its own; one that was set for another Go misleads it.
unset GOROOT

say() { echo "peers: $*" >&2; }

has_debian() {
  command -v curl >/dev/null && command -v nghttp >/dev/null && command -v h2load >/dev/null &&
    { /usr/bin/python3 -c 'import grpc, google.protobuf' || python3 -c 'import grpc, google.protobuf'; } >/dev/null 2>&1
}

build_debian() {
  if ! has_debian; then
    say "installing Debian packages"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      ca-certificates curl nghttp2-client python3-grpcio python3-protobuf >/dev/null
  fi
  build_python_clients
}

# Without their dependencies: they are to run with Debian's grpcio and protobuf.
build_python_clients() {
  if [ "$(cat "$python_modules/.stamp" 2>/dev/null)" = "$python_version" ]; then return; fi
  if ! python3 -m pip --version >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip >/dev/null
  fi
  say "fetching grpcio's clients of health and reflection"
  rm -rf "$python_modules"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: \
    --target "$python_modules" "grpcio-health-checking==$python_version" "grpcio-reflection==$python_version"
  echo "$python_version" >"$python_modules/.stamp"
}

# The Go that go.mod asks for. Any Go from 1.21 on fetches it by itself; an older one fetches it as the module that it is.
find_go() {
  local wanted go=go toolchain
  wanted=$(sed -n 's/^go //p' "$go_module/go.mod")
  if ! command -v go >/dev/null; then
    if [ -x /usr/lib/go/bin/go ]; then
      go=/usr/lib/go/bin/go
    else
      say "installing Go"
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates golang-go >/dev/null
    fi
  fi
  if [ "$(printf '1.21\n%s\n' "$("$go" env GOVERSION | sed 's/^go//')" | sort -V | head -1)" = 1.21 ]; then
    command -v "$go"
    return
  fi
  say "fetching Go $wanted as a module"
  toolchain=golang.org/toolchain@v0.0.1-go$wanted.$("$go" env GOOS)-$("$go" env GOARCH)
  (cd "$(mktemp -d)" && "$go" mod init peers 2>/dev/null && "$go" mod download "$toolchain")
  # Files of the module cache are never executable.
  local copy=$root/.cache/go/toolchain-$wanted
  if [ ! -x "$copy/bin/go" ]; then
    mkdir -p "$root/.cache/go"
    rm -rf "$copy"
    cp -r "$("$go" env GOMODCACHE)/$toolchain" "$copy"
    chmod -R u+w "$copy"
    chmod +x "$copy"/bin/* "$copy"/pkg/tool/*/*
  fi
  echo "$copy/bin/go"
}

build_go() {
  local stamp programs
  stamp=$(cat "$go_module/go.mod" "$go_module/go.sum" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
  programs="connectconformance grpcurl h2spec interop-client interop-server"
  if [ "$(cat "$go_bin/.stamp" 2>/dev/null)" = "$stamp" ]; then
    for program in $programs; do [ -x "$go_bin/$program" ] || rm -f "$go_bin/.stamp"; done
    if [ -f "$go_bin/.stamp" ]; then return; fi
  fi
  local go
  go=$(find_go)
  say "building $programs with $("$go" version)"
  mkdir -p "$go_bin"
  cd "$go_module"
  export GOFLAGS=-mod=readonly GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
  "$go" build -trimpath -ldflags=-s -o "$go_bin/connectconformance" connectrpc.com/conformance/cmd/connectconformance
  "$go" build -trimpath -ldflags=-s -o "$go_bin/grpcurl" github.com/fullstorydev/grpcurl/cmd/grpcurl
  "$go" build -trimpath -ldflags=-s -o "$go_bin/h2spec" github.com/summerwind/h2spec/cmd/h2spec
  "$go" build -trimpath -ldflags=-s -o "$go_bin/interop-client" google.golang.org/grpc/interop/client
  "$go" build -trimpath -ldflags=-s -o "$go_bin/interop-server" google.golang.org/grpc/interop/server
  echo "$stamp" >"$go_bin/.stamp"
}

build_generate() {
  local go protos
  go=$(find_go)
  export PATH=$root/node_modules/.bin:$PATH
  node() { command node "$@"; }
  local buf
  buf=$(echo "$root"/node_modules/@bufbuild/buf-*/bin/buf)
  cd "$root/test/peers"
  rm -rf gen
  "$buf" build proto --exclude-source-info -o gen.binpb
  "$buf" generate gen.binpb --template buf.gen.yaml
  mv gen.binpb gen/peers.binpb
  (cd go && "$go" mod download connectrpc.com/conformance)
  protos=$(mktemp -d)
  mkdir -p "$protos/connectrpc/conformance/v1"
  for name in config service client_compat server_compat; do
    cp "$(cd go && "$go" list -m -f '{{.Dir}}' connectrpc.com/conformance)/proto/connectrpc/conformance/v1/$name.proto" "$protos/connectrpc/conformance/v1/"
  done
  rm -rf ../conformance/gen/connectrpc
  # Without the source's comments: the protos are where they are read.
  "$buf" build "$protos" --exclude-source-info -o "$protos/image.binpb"
  "$buf" generate "$protos/image.binpb" --template buf.gen.yaml -o ../conformance
  rm -rf "$protos"
}

if [ $# -eq 0 ]; then set -- debian go; fi
for name in "$@"; do
  case $name in
    debian | python) build_debian ;;
    go) build_go ;;
    generate) build_generate ;;
    *)
      say "no peer is called $name: debian, python, go, generate"
      exit 2
      ;;
  esac
done
