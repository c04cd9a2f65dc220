// image-check.ts BINARY: checks the image's promises, one line each; `scripts/image-check` calls it as root.
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startSandboxes, type Sandboxes } from "./lib/demo/demo-stage.ts";
import { parseImageSpec, type ImageSpec } from "./lib/image/dockerfile.ts";
import { findFreePort } from "./lib/free-port.ts";
import { createMemoryLimit, readPeakResidentBytes, type MemoryLimit } from "./lib/image/memory-limit.ts";

const ROOT = join(import.meta.dir, "..");
/**
 * The base of the Dockerfile without its tag and digest, which only stand there. BASE_PACKAGES are those of this base.
 */
const BASE = "gcr.io/distroless/base-nossl-debian12";
/** The packages that the base is made of, as far as it holds files that programs read. */
const BASE_PACKAGES = ["base-files", "ca-certificates", "libc6", "media-types", "netbase", "tzdata"];
const DEVICES = ["null", "zero", "full", "random", "urandom"];
/** A user id without an entry in /etc/passwd, as a cluster that assigns its own ids (OpenShift) would choose. */
const ARBITRARY_USER = "1234567:0";
const MEMORY_LIMIT_BYTES = 256 * 1024 * 1024;
const UPLOAD_BYTES = 20_000_000;
const START_MAX_MS = 30_000;
const STOP_MAX_MS = 40_000;

let failures = 0;

async function check(name: string, run: () => string | Promise<string>): Promise<void> {
  try {
    console.log(`ok    ${name}: ${await run()}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function expectEqual(what: string, seen: unknown, expected: unknown): void {
  if (!Bun.deepEquals(seen, expected))
    throw new Error(`${what} is ${JSON.stringify(seen)}, not ${JSON.stringify(expected)}`);
}

function run(command: string[], options: { cwd?: string } = {}): string {
  const result = Bun.spawnSync(command, { ...options, stdout: "pipe", stderr: "pipe" });
  if (result.exitCode !== 0) throw new Error(`${command.join(" ")}: ${result.stderr.toString().trim()}`);
  return result.stdout.toString();
}

/** Puts the files of the base and the binary into a folder. Returns the packages and their versions. */
function buildRootFolder(root: string, options: { binary: string; work: string }): string[] {
  const packages = join(options.work, "packages");
  mkdirSync(packages);
  try {
    run(["apt-get", "download", "-qq", ...BASE_PACKAGES], { cwd: packages });
  } catch {
    run(["apt-get", "update", "-qq"]);
    run(["apt-get", "download", "-qq", ...BASE_PACKAGES], { cwd: packages });
  }
  const files = readdirSync(packages).toSorted();
  for (const file of files) run(["dpkg-deb", "-x", join(packages, file), root]);

  const certificates = join(root, "usr/share/ca-certificates/mozilla");
  mkdirSync(join(root, "etc/ssl/certs"), { recursive: true });
  const bundle = readdirSync(certificates).map((name) => readFileSync(join(certificates, name), "utf8"));
  writeFileSync(join(root, "etc/ssl/certs/ca-certificates.crt"), bundle.join(""));
  writeFileSync(
    join(root, "etc/passwd"),
    "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n" +
      "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
  );
  writeFileSync(join(root, "etc/group"), "root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n");
  writeFileSync(join(root, "etc/nsswitch.conf"), "hosts: files dns\n");
  for (const folder of ["proc", "dev", "tmp", "home/nonroot", "manifests"])
    mkdirSync(join(root, folder), { recursive: true });
  for (const device of DEVICES) writeFileSync(join(root, "dev", device), "");
  // Files that a container engine adds.
  writeFileSync(join(root, "etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n");
  writeFileSync(join(root, "etc/resolv.conf"), readFileSync("/etc/resolv.conf"));
  cpSync(options.binary, join(root, "ingress"));
  chmodSync(join(root, "ingress"), 0o755);
  return files.map((file) => file.replace(/_[^_]*\.deb$/, "").replace("_", " "));
}

interface Container {
  /** The ingress's process id on this machine; in its own namespace it is 1. */
  readonly pid: number;
  readonly port: number;
  stop(): Promise<number>;
  kill(): Promise<void>;
}

interface ContainerOptions {
  readonly spec: ImageSpec;
  readonly user: string;
  readonly limit: MemoryLimit;
  readonly logFile: string;
}

function enterCommand(
  root: string,
  options: { user: string; cgroupProcs: string; command: readonly string[] },
): string[] {
  const enter = join(ROOT, "scripts/lib/image/image-enter.sh");
  const namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"];
  return [...namespaces, "bash", enter, root, options.user, options.cgroupProcs, ...options.command];
}

async function startContainer(root: string, options: ContainerOptions): Promise<Container> {
  const port = findFreePort();
  const flags = [
    "--manifests=/manifests",
    "--host=127.0.0.1",
    `--port=${port}`,
    "--admin-port=0",
    "--shutdown-delay=0s",
  ];
  const command = [...options.spec.entrypoint, ...flags];
  const log = Bun.file(options.logFile);
  const child = Bun.spawn(enterCommand(root, { user: options.user, cgroupProcs: options.limit.procsFile, command }), {
    // A container's environment has no more than this.
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
    stdin: "ignore",
    stdout: log,
    stderr: log,
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  const deadline = performance.now() + START_MAX_MS;
  while (!(await isAnswering(port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await kill();
      throw new Error(`the ingress did not start (${child.exitCode}): ${(await log.text()).trim()}`);
    }
    await Bun.sleep(20);
  }
  const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim());
  const stop = async () => {
    process.kill(pid, "SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
    const code = await child.exited;
    clearTimeout(killer);
    return code;
  };
  return { pid, port, stop, kill };
}

async function isAnswering(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/status.ok`)).ok;
  } catch {
    return false;
  }
}

/** Fails unless the process is as confined as a Kubernetes pod under the `restricted` policy. */
function checkConfinement(pid: number, user: string): string {
  const status = new Map(
    readFileSync(`/proc/${pid}/status`, "utf8")
      .split("\n")
      .map((line) => line.split(":\t"))
      .map(([name = "", value = ""]) => [name, value.trim()]),
  );
  const [uid = "", gid = ""] = user.split(":");
  expectEqual("user", status.get("Uid")?.split("\t")[0], uid);
  expectEqual("group", status.get("Gid")?.split("\t")[0], gid);
  expectEqual("process id in its namespace", status.get("NSpid")?.split("\t").at(-1), "1");
  expectEqual("capabilities", Number.parseInt(status.get("CapEff") ?? "x", 16), 0);
  expectEqual("no_new_privs", status.get("NoNewPrivs"), "1");
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n");
  const rootOptions = mounts.map((line) => line.split(" ")).findLast((fields) => fields[4] === "/")?.[5];
  if (!rootOptions?.split(",").includes("ro")) throw new Error(`the root is mounted ${rootOptions}`);
  return `user ${user}, process 1, read-only root, no capabilities`;
}

async function checkUpload(port: number, sandboxes: Sandboxes): Promise<string> {
  const { one } = sandboxes;
  const body = new Uint8Array(UPLOAD_BYTES).fill(7);
  const headers = { "OpenSandbox-Ingress-To": `${one.name}-${one.port}` };
  const response = await fetch(`http://127.0.0.1:${port}/upload`, { method: "POST", headers, body });
  const answer: unknown = await response.json();
  expectEqual("the sandbox's answer", answer, { bytes: UPLOAD_BYTES, sha256: Bun.SHA256.hash(body, "hex") });
  return `${UPLOAD_BYTES / 1e6} MB arrived in the sandbox, SHA-256 equal`;
}

async function checkContainer(root: string, options: ContainerOptions & { sandboxes: Sandboxes }): Promise<void> {
  const { user, limit, sandboxes } = options;
  let container: Container | undefined;
  await check(`user ${user}, start`, async () => {
    const started = performance.now();
    container = await startContainer(root, options);
    return `/status.ok answers after ${(performance.now() - started).toFixed(0)} ms; ${limit.description}`;
  });
  if (container === undefined) return;
  const { pid, port } = container;
  try {
    await check(`user ${user}, confinement`, () => checkConfinement(pid, user));
    await check(`user ${user}, request`, async () => {
      const { two } = sandboxes;
      const headers = { Host: `${two.name}-${two.port}.example.com` };
      const response = await fetch(`http://127.0.0.1:${port}/`, { headers });
      expectEqual("status", response.status, 200);
      if (!(await response.text()).includes(`<h1>${two.name}</h1>`)) throw new Error("another page came back");
      return `200, the page of ${two.name}`;
    });
    await check(`user ${user}, upload`, () => checkUpload(port, sandboxes));
    await check(`user ${user}, memory`, () => {
      const resident = readPeakResidentBytes(pid);
      const charged = limit.readPeakBytes();
      const seen = `at most ${formatMiB(resident)} resident`;
      if (resident > MEMORY_LIMIT_BYTES) throw new Error(`${seen}, above ${formatMiB(MEMORY_LIMIT_BYTES)}`);
      return charged === undefined ? seen : `${seen}, ${formatMiB(charged)} of it charged to the cgroup`;
    });
    await check(`user ${user}, SIGTERM as process 1`, async () => {
      expectEqual("exit code", await container?.stop(), 0);
      return "exit code 0";
    });
  } finally {
    await container.kill();
  }
}

function formatMiB(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MiB`;
}

function checkSpec(spec: ImageSpec): string {
  expectEqual("base", spec.base.replace(/:[^/]*$/, ""), BASE);
  if (!/@sha256:[0-9a-f]{64}$/.test(spec.base)) throw new Error(`base ${spec.base} is not pinned by digest`);
  expectEqual("entry point", spec.entrypoint, ["./ingress"]);
  expectEqual("working folder", spec.workdir, "/");
  expectEqual("ports", spec.ports, [28_888, 28_889]);
  expectEqual("what is copied", spec.copied, ["/ingress"]);
  if (!/^[1-9]\d*:\d+$/.test(spec.user)) throw new Error(`user ${spec.user} is not numeric, which runAsNonRoot needs`);
  return `FROM ${spec.base}, ENTRYPOINT ${JSON.stringify(spec.entrypoint)} in ${spec.workdir}, USER ${spec.user}`;
}

async function main(binary: string): Promise<void> {
  const spec = parseImageSpec(readFileSync(join(ROOT, "Dockerfile"), "utf8"));
  await check("Dockerfile", () => checkSpec(spec));

  const work = mkdtempSync(join(tmpdir(), "ingress-image-"));
  const root = join(work, "root");
  mkdirSync(root);
  // Other users must be able to enter; mkdtemp allows only the owner.
  chmodSync(work, 0o755);
  const sandboxes = await startSandboxes({ port: 0 });
  try {
    await check("base", () => `Debian's ${buildRootFolder(root, { binary, work }).join(", ")}`);
    cpSync(sandboxes.manifests, join(root, "manifests"), { recursive: true });
    await check("libraries", () => {
      const command = enterCommand(root, {
        user: spec.user,
        cgroupProcs: "",
        command: [...spec.entrypoint, "--version"],
      });
      return `all are in the base: ${run(command).trim()}`;
    });
    for (const user of [spec.user, ARBITRARY_USER]) {
      using limit = createMemoryLimit(MEMORY_LIMIT_BYTES);
      await checkContainer(root, { spec, user, limit, sandboxes, logFile: join(work, "log") });
    }
  } finally {
    await sandboxes.stop();
    rmSync(work, { recursive: true, force: true });
  }
}

const [binary] = Bun.argv.slice(2);
if (binary === undefined) throw new Error("usage: image-check.ts BINARY");
await main(binary);
console.log(failures === 0 ? "the image keeps its promises" : `${failures} checks failed`);
process.exitCode = failures === 0 ? 0 : 1;
