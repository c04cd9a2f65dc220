import { totalmem } from "node:os";

import { type ReadTextFile, readTextFile } from "./kernel-files.ts";

/** How much memory this process may use. */
export interface MemoryLimit {
  /** Above zero. */
  readonly bytes: number;
  /**
   * `container`: this process's own limit, above which the kernel kills it. `machine`: the machine's memory, which
   * others use, too.
   */
  readonly source: "container" | "machine";
}

/** The control groups of this process, one per line: `<id>:<controllers>:<path>` (cgroups(7)). */
const GROUPS_FILE = "/proc/self/cgroup";
/** The mount points of control groups, among others (proc_pid_mountinfo(5)). */
const MOUNTS_FILE = "/proc/self/mountinfo";
const MACHINE_FILE = "/proc/meminfo";
const STATUS_FILE = "/proc/self/status";
const KIB = 1024;

/** Maximum number of groups from this process's group up to the root. Kubernetes nests four, systemd a few more. */
const GROUP_DEPTH_MAX = 32;

/**
 * The memory limit of this process: the least limit of its control group and all groups above it, in version 2
 * (`memory.max`) and version 1 (`memory.limit_in_bytes`), else the machine's memory. A limit above the machine's memory
 * is no limit: version 1 writes "none" like this.
 *
 * Groups above those that the container sees also have limits, but these cannot be read. With Kubernetes they are the
 * pod's and the node's, and the container's own limit is the least.
 */
export function readMemoryLimit(read: ReadTextFile = readTextFile, machineBytes = totalmem()): MemoryLimit {
  const machine = parseMachineBytes(read(MACHINE_FILE)) ?? machineBytes;
  const group = readGroupLimit(read);
  return group !== undefined && group < machine
    ? { bytes: group, source: "container" }
    : { bytes: machine, source: "machine" };
}

/** Resident memory of this process now, in bytes; undefined if the system does not tell. Takes a few microseconds. */
export function readResidentBytes(read: ReadTextFile = readTextFile): number | undefined {
  return parseKibibytes(read(STATUS_FILE), "VmRSS");
}

function parseMachineBytes(text: string | undefined): number | undefined {
  return parseKibibytes(text, "MemTotal");
}

/** Reads `<name>:   <number> kB` in a file of such lines. */
function parseKibibytes(text: string | undefined, name: string): number | undefined {
  const digits = new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(text ?? "")?.[1];
  return digits === undefined ? undefined : Number(digits) * KIB;
}

/** A tree of control groups that can limit memory. */
interface GroupMount {
  readonly version: 1 | 2;
  /** The group whose folder is the root of the mount. A container may see only its own group. */
  readonly root: string;
  readonly folder: string;
}

function readGroupLimit(read: ReadTextFile): number | undefined {
  const groups = parseGroups(read(GROUPS_FILE) ?? "");
  let least: number | undefined;
  for (const mount of parseMounts(read(MOUNTS_FILE) ?? "")) {
    const file = mount.version === 2 ? "memory.max" : "memory.limit_in_bytes";
    for (const folder of listFolders(mount, groups[mount.version] ?? "/")) {
      const bytes = parseLimit(read(`${folder}/${file}`));
      if (bytes !== undefined && (least === undefined || bytes < least)) least = bytes;
    }
  }
  return least;
}

/** The group's path in each version. */
function parseGroups(text: string): { readonly 1?: string; readonly 2?: string } {
  const groups: { 1?: string; 2?: string } = {};
  for (const line of text.split("\n")) {
    const [, id, controllers, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (id === "0" && controllers === "") groups[2] = path;
    else if (controllers?.split(",").includes("memory") === true) groups[1] = path;
  }
  return groups;
}

/** `<id> <parent> <device> <root> <mount point> <options> [<fields>] - <type> <source> <super options>`. */
function parseMounts(text: string): readonly GroupMount[] {
  const mounts: GroupMount[] = [];
  for (const line of text.split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    const [, , , root, folder] = left.split(" ");
    const [type, , options] = right.split(" ");
    if (root === undefined || folder === undefined) continue;
    const place = { root: unescapeMount(root), folder: unescapeMount(folder) };
    if (type === "cgroup2") mounts.push({ version: 2, ...place });
    if (type === "cgroup" && options?.split(",").includes("memory") === true) mounts.push({ version: 1, ...place });
  }
  return mounts;
}

/** The kernel writes space, tab, line feed and backslash as octal numbers. */
function unescapeMount(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The folders of this process's group and of those above it, as far as the mount shows them. */
function listFolders(mount: GroupMount, group: string): readonly string[] {
  const top = mount.folder === "/" ? "" : mount.folder;
  const folders = [top];
  let folder = top;
  for (const name of namesBelow(mount.root, group).slice(0, GROUP_DEPTH_MAX)) {
    folder += `/${name}`;
    folders.push(folder);
  }
  return folders;
}

/**
 * Names from `root` down to `group`. Empty if the group is elsewhere: then a container's mount shows this process's
 * group as its root.
 */
function namesBelow(root: string, group: string): readonly string[] {
  const prefix = root.endsWith("/") ? root : `${root}/`;
  if (!group.startsWith(prefix)) return [];
  const names = group.slice(prefix.length).split("/");
  return names.includes("..") ? [] : names.filter((name) => name !== "");
}

/** Undefined: no limit, or the file is missing. Zero is impossible for a running process. */
function parseLimit(text: string | undefined): number | undefined {
  const digits = /^\d+$/.exec(text?.trim() ?? "")?.[0];
  const bytes = Number(digits ?? 0);
  return bytes > 0 ? bytes : undefined;
}
