# shellcheck shell=bash
# What the scripts share; sourced, never run. Needs bash 3.2, which macOS still has.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="$ROOT/.cache"
BUN_VERSION="$(tr -d '[:space:]' <"$ROOT/.bun-version")"

# Prints one line on stderr and ends the script.
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# The platform part of Bun's npm package for this machine, as in @oven/bun-linux-x64.
host_bun_platform() {
  local os arch libc=""
  case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) die "no Bun $BUN_VERSION for $(uname -s): use Linux or macOS" ;;
  esac
  case "$(uname -m)" in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=aarch64 ;;
    *) die "no Bun $BUN_VERSION for $(uname -m): use x64 or arm64" ;;
  esac
  # musl's loader alone proves nothing (glibc systems can have it installed); with no glibc loader beside it, it does.
  if [ "$os" = linux ] && compgen -G '/lib/ld-musl-*' >/dev/null && ! compgen -G '/lib*/ld-linux-*' >/dev/null; then
    libc=-musl
  fi
  printf '%s-%s%s\n' "$os" "$arch" "$libc"
}

has_pinned_version() {
  [ "$("$1" --version 2>/dev/null || true)" = "$BUN_VERSION" ]
}

# fetch_bun PLATFORM: puts Bun's executable for PLATFORM into the checkout's cache and prints its path.
# It comes out of the platform's own npm package, so that no install script has to run.
fetch_bun() {
  local platform="$1" package="@oven/bun-$1@$BUN_VERSION"
  local folder="$CACHE/bun-$BUN_VERSION-$platform"
  if [ ! -x "$folder/bin/bun" ]; then
    mkdir -p "$CACHE"
    local staging
    staging="$(mktemp -d "$CACHE/fetch-bun.XXXXXX")"
    printf '{"private":true}\n' >"$staging/package.json"
    printf 'fetching %s\n' "$package" >&2
    if ! fetch_package "$staging" "$package" >"$staging/log" 2>&1; then
      tail -n 5 "$staging/log" >&2
      rm -rf "$staging"
      die "cannot get Bun $BUN_VERSION: the npm package $package could not be fetched (see above); it needs npm or any Bun, and a reachable npm registry"
    fi
    local executable="$staging/node_modules/@oven/bun-$platform/bin/bun"
    chmod +x "$executable"
    mkdir -p "$folder/bin"
    # A rename, so that another script that does the same at this moment never sees half a file.
    mv "$executable" "$folder/bin/bun"
    rm -rf "$staging"
  fi
  printf '%s\n' "$folder/bin/bun"
}

# Force: npm refuses packages of another platform than this machine's, which cross builds need.
fetch_package() {
  local staging="$1" package="$2"
  if [ -n "${BUN:-}" ]; then
    (cd "$staging" && "$BUN" add --exact --ignore-scripts --cpu='*' --os='*' "$package")
  elif command -v npm >/dev/null; then
    (cd "$staging" && npm install --location=project --force --ignore-scripts --no-audit --no-fund "$package")
  else
    (cd "$staging" && bun add --exact --ignore-scripts "$package")
  fi
}

# Sets and exports BUN, the pinned Bun's executable, and puts it first on PATH.
ensure_bun() {
  local found platform
  BUN=""
  if found="$(command -v bun)" && has_pinned_version "$found"; then
    BUN="$found"
  else
    platform="$(host_bun_platform)"
    if [ -z "$found" ] && ! command -v npm >/dev/null && [ ! -x "$CACHE/bun-$BUN_VERSION-$platform/bin/bun" ]; then
      die "neither bun nor npm is on PATH: install Bun $BUN_VERSION, or Node.js with npm, from which this script gets it"
    fi
    found="$(fetch_bun "$platform")"
    has_pinned_version "$found" || die "$found does not run on this machine as Bun $BUN_VERSION"
    BUN="$found"
    PATH="$(dirname "$BUN"):$PATH"
  fi
  export BUN PATH
}

# Installs the dependencies exactly as locked.
install_dependencies() {
  local log="$CACHE/install.log"
  mkdir -p "$CACHE"
  if ! (cd "$ROOT" && "$BUN" install --frozen-lockfile) >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "cannot install the dependencies of bun.lock (see above)"
  fi
}
