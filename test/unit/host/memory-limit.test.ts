import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";

import { readMemoryLimit, readResidentBytes } from "../../../src/host/memory-limit.ts";

const MIB = 1024 * 1024;
const MACHINE_BYTES = 8 * 1024 * MIB;
const MEMINFO = `MemTotal:       ${MACHINE_BYTES / 1024} kB\nMemFree:         1 kB\n`;
/** What version 1 shows where no limit is set: the greatest multiple of a page in a signed 64-bit number. */
const NO_LIMIT_V1 = "9223372036854771712\n";

const MOUNT_V2 =
  "31 23 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup rw,nsdelegate\n";
const MOUNT_V1 =
  "30 23 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n" +
  "32 30 0:29 / /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n" +
  "35 30 0:32 / /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory\n";

/** A reader of files that exist only here. */
function limitOf(files: Readonly<Record<string, string>>) {
  return readMemoryLimit((path) => ({ "/proc/meminfo": MEMINFO, ...files })[path], 1);
}
const container = (bytes: number) => ({ bytes, source: "container" as const });
const machine = { bytes: MACHINE_BYTES, source: "machine" as const };

test.each<[string, Readonly<Record<string, string>>, ReturnType<typeof limitOf>]>([
  [
    "version 2 in a container with its own namespace",
    {
      "/proc/self/cgroup": "0::/\n",
      "/proc/self/mountinfo": MOUNT_V2,
      "/sys/fs/cgroup/memory.max": `${512 * MIB}\n`,
    },
    container(512 * MIB),
  ],
  [
    "version 2, the least of all groups up to the mount's root",
    {
      "/proc/self/cgroup": "0::/kubepods/burstable/pod1/c1\n",
      "/proc/self/mountinfo": MOUNT_V2,
      "/sys/fs/cgroup/kubepods/memory.max": `${4096 * MIB}\n`,
      "/sys/fs/cgroup/kubepods/burstable/memory.max": "max\n",
      "/sys/fs/cgroup/kubepods/burstable/pod1/memory.max": `${300 * MIB}\n`,
      "/sys/fs/cgroup/kubepods/burstable/pod1/c1/memory.max": `${512 * MIB}\n`,
    },
    container(300 * MIB),
  ],
  [
    "version 2 mounted elsewhere, with a blank in its name",
    {
      "/proc/self/cgroup": "0::/a b\n",
      "/proc/self/mountinfo": MOUNT_V2.replace("/sys/fs/cgroup", "/mnt/c\\040g"),
      "/mnt/c g/a b/memory.max": `${64 * MIB}\n`,
    },
    container(64 * MIB),
  ],
  [
    "version 2 with a group outside of the namespace",
    {
      "/proc/self/cgroup": "0::/../../other\n",
      "/proc/self/mountinfo": MOUNT_V2,
      "/sys/fs/cgroup/memory.max": `${100 * MIB}\n`,
      "/sys/fs/cgroup/other/memory.max": `${1 * MIB}\n`,
    },
    container(100 * MIB),
  ],
  [
    "version 1 whose mount shows the container's own group as its root",
    {
      "/proc/self/cgroup": "9:cpu,cpuacct:/docker/c1\n4:memory:/docker/c1\n1:name=systemd:/docker/c1\n",
      "/proc/self/mountinfo": MOUNT_V1.replace("0:32 / ", "0:32 /docker/c1 "),
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": `${256 * MIB}\n`,
    },
    container(256 * MIB),
  ],
  [
    "version 1, the least of all groups",
    {
      "/proc/self/cgroup": "4:memory:/a/b\n0::/\n",
      "/proc/self/mountinfo": MOUNT_V1,
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
      "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": `${200 * MIB}\n`,
      "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": NO_LIMIT_V1,
    },
    container(200 * MIB),
  ],
  [
    "both versions, the least",
    {
      "/proc/self/cgroup": "4:memory:/\n0::/\n",
      "/proc/self/mountinfo": MOUNT_V1 + MOUNT_V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": `${500 * MIB}\n`,
      "/sys/fs/cgroup/unified/memory.max": `${400 * MIB}\n`,
    },
    container(400 * MIB),
  ],
  [
    "version 1 that writes no limit as a huge number",
    {
      "/proc/self/cgroup": "4:memory:/\n",
      "/proc/self/mountinfo": MOUNT_V1,
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
    },
    machine,
  ],
  [
    "a limit above the machine's memory",
    {
      "/proc/self/cgroup": "0::/\n",
      "/proc/self/mountinfo": MOUNT_V2,
      "/sys/fs/cgroup/memory.max": `${2 * MACHINE_BYTES}\n`,
    },
    machine,
  ],
  [
    "nonsense",
    {
      "/proc/self/cgroup": "\n0\n0::x\n:::/\n",
      "/proc/self/mountinfo": `\n - \n${MOUNT_V2}`,
      "/sys/fs/cgroup/memory.max": "0\n",
    },
    machine,
  ],
  ["no control groups", {}, machine],
])("readMemoryLimit knows %s", (_, files, expected) => {
  expect(limitOf(files)).toEqual(expected);
});

test("readMemoryLimit uses the runtime's value if no file can be read", () => {
  expect(readMemoryLimit(() => undefined, 5 * MIB)).toEqual({ bytes: 5 * MIB, source: "machine" });
});

test("readMemoryLimit reads this system: above nothing and at most the machine's memory", () => {
  const { bytes } = readMemoryLimit();
  expect(bytes).toBeGreaterThan(0);
  expect(bytes).toBeLessThanOrEqual(totalmem());
});

test("readResidentBytes returns this process's resident memory", () => {
  const before = readResidentBytes() ?? 0;
  const held = new Uint8Array(64 * MIB).fill(1);
  const after = readResidentBytes() ?? 0;
  expect(held.byteLength).toBe(64 * MIB);
  expect(before).toBeGreaterThan(MIB);
  expect(after - before).toBeGreaterThan(32 * MIB);
  expect(readResidentBytes(() => readFileSync("/proc/self/limits", "latin1"))).toBeUndefined();
});
