# shellcheck shell=bash
# image-enter.sh ROOT USER CGROUP_PROCS COMMAND…: runs COMMAND in ROOT as a container would; image-check.ts starts it in
# mount and process namespaces of its own. CGROUP_PROCS is empty, or the file that takes this process into a cgroup.
set -euo pipefail

root="$1" user="$2" cgroup_procs="$3"
shift 3

[ -z "$cgroup_procs" ] || echo 0 >"$cgroup_procs"
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for device in null zero full random urandom; do
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" "$root" "$@"
