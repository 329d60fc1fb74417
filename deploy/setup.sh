#!/usr/bin/env bash
# Install what the commands of the Makefile need and is missing: Debian packages, a virtual environment, the locked
# Python packages. Does nothing when all of it is there. Debian 12, Ubuntu 22.04 and 24.04; root, or sudo.
#   deploy/setup.sh run    what the demo needs
#   deploy/setup.sh test   that, and what the tests and the bench need
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-run}

say() { printf 'setup: %s\n' "$*" >&2; }

packages=(python3-bpfcc redis-server)
[ "$purpose" = test ] && packages+=(gcc g++ clang lld libc6-dev binutils postgresql chromium bpftrace bpftool golang-google-grpc-dev)

[ "$purpose" = test ] && ! command -v rustc >/dev/null && packages+=(rustc)

# Ubuntu calls two of them by other names, and its chromium is only a link to a snap.
if grep -q '^ID=ubuntu' /etc/os-release; then
  packages=("${packages[@]/bpftool/linux-tools-common}")
  packages=("${packages[@]/chromium/chromium-browser}")
fi

# The newest Python of 3.11 and later that has the venv module, else the distribution's.
python=""
for candidate in python3 python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  if grep -q '^VERSION_ID="22.04"' /etc/os-release; then packages+=(python3.11 python3.11-venv) python=python3.11
  else packages+=(python3 python3-venv) python=python3; fi
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { say "needs root or sudo to install: ${missing[*]}"; exit 1; }
    root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${root[@]}" apt-get update -qq
  # Services that the packages bring are not started: the tests and the embedded server start private ones.
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

stamp=.venv/.locked
wanted=$(cat requirements.lock pyproject.toml | sha256sum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  say "installing the locked Python packages into .venv"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
  .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
  .venv/bin/python -m pip uninstall --quiet --yes casbin 2>/dev/null || true # the frozen old name of pycasbin
  printf '%s' "$wanted" >"$stamp"
fi
