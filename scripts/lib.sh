# shellcheck shell=bash
# Functions of the scripts. Source it, do not run it. Works with bash 3.2, which macOS still has.

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
    *) die "Bun $BUN_VERSION does not run on $(uname -s): use Linux or macOS" ;;
  esac
  case "$(uname -m)" in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=aarch64 ;;
    *) die "Bun $BUN_VERSION does not run on $(uname -m): use x64 or arm64" ;;
  esac
  # musl's loader alone is no proof, because glibc systems can have it installed. Without a glibc loader it is.
  if [ "$os" = linux ] && compgen -G '/lib/ld-musl-*' >/dev/null && ! compgen -G '/lib*/ld-linux-*' >/dev/null; then
    libc=-musl
  fi
  printf '%s-%s%s\n' "$os" "$arch" "$libc"
}

has_pinned_version() {
  [ "$("$1" --version 2>/dev/null || true)" = "$BUN_VERSION" ]
}

# Prints the required integrity of Bun's npm package for PLATFORM.
bun_integrity() {
  local platform integrity
  while read -r platform integrity; do
    if [ "$platform" = "$1" ]; then
      printf '%s\n' "$integrity"
      return
    fi
  done <"$ROOT/scripts/bun-integrity.txt"
  die "scripts/bun-integrity.txt has no line for $1"
}

# fetch_bun PLATFORM: puts Bun's executable for PLATFORM into the checkout's cache and prints its path.
# It comes from the platform's own npm package, so that no install script runs. It must have the integrity in
# scripts/bun-integrity.txt, because it becomes part of the product.
fetch_bun() {
  local platform="$1" package="@oven/bun-$1" integrity
  local folder="$CACHE/bun-$BUN_VERSION-$platform"
  if [ ! -x "$folder/bin/bun" ]; then
    # Inside $(…) bash ignores `set -e`.
    integrity="$(bun_integrity "$platform")" || exit 1
    mkdir -p "$CACHE"
    local staging
    staging="$(mktemp -d "$CACHE/fetch-bun.XXXXXX")"
    printf 'fetching %s@%s\n' "$package" "$BUN_VERSION" >&2
    if ! fetch_package "$staging" "$package" "$integrity" >"$staging/log" 2>&1; then
      tail -n 5 "$staging/log" >&2
      rm -rf "$staging"
      die "cannot get Bun $BUN_VERSION: cannot fetch the npm package $package with the integrity in scripts/bun-integrity.txt (see above); this needs npm or any Bun, and the npm registry"
    fi
    local executable="$staging/node_modules/@oven/bun-$platform/bin/bun"
    # A rename, so that another script never sees half a file.
    if ! { chmod +x "$executable" && mkdir -p "$folder/bin" && mv "$executable" "$folder/bin/bun"; }; then
      die "cannot put $executable into $folder"
    fi
    rm -rf "$staging"
  fi
  printf '%s\n' "$folder/bin/bun"
}

# bun_for_container PLATFORM: fetch_bun by a container platform's name.
bun_for_container() {
  case "$1" in
    linux-amd64) fetch_bun linux-x64 ;;
    linux-arm64) fetch_bun linux-aarch64 ;;
    *) die "unknown platform $1: linux-amd64 or linux-arm64" ;;
  esac
}

# fetch_package FOLDER PACKAGE INTEGRITY: installs one package from a generated lockfile, so that the package manager refuses
# other bytes before it unpacks them.
fetch_package() {
  local staging="$1" package="$2" integrity="$3" installer="${BUN:-}"
  printf '{"private":true,"dependencies":{"%s":"%s"}}\n' "$package" "$BUN_VERSION" >"$staging/package.json"
  if [ -z "$installer" ] && command -v npm >/dev/null; then
    printf '{"lockfileVersion":3,"requires":true,"packages":{"":{"dependencies":{"%s":"%s"}},"node_modules/%s":{"version":"%s","integrity":"%s"}}}\n' \
      "$package" "$BUN_VERSION" "$package" "$BUN_VERSION" "$integrity" >"$staging/package-lock.json"
    # Force: cross builds need packages of another platform, which npm refuses otherwise.
    (cd "$staging" && npm ci --location=project --force --ignore-scripts --no-audit --no-fund)
  else
    printf '{"lockfileVersion":1,"workspaces":{"":{"dependencies":{"%s":"%s"}}},"packages":{"%s":["%s@%s","",{},"%s"]}}\n' \
      "$package" "$BUN_VERSION" "$package" "$package" "$BUN_VERSION" "$integrity" >"$staging/bun.lock"
    # A separate cache: packages in the user's cache are not checked again.
    (cd "$staging" && BUN_INSTALL_CACHE_DIR="$staging/cache" "${installer:-bun}" install --frozen-lockfile --ignore-scripts --cpu='*' --os='*')
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

# Installs the dependencies exactly as locked. bunfig.toml turns their install scripts off.
install_dependencies() {
  local log="$CACHE/install.log"
  mkdir -p "$CACHE"
  if ! (cd "$ROOT" && "$BUN" install --frozen-lockfile) >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "cannot install the dependencies of bun.lock (see above)"
  fi
}
