import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { isAnswering, runToEnd, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { requirePart } from "../support/requires.ts";
import { startSampleStage } from "../support/sample-manifests.ts";
import { tempDir } from "../support/temp-dir.ts";

const hasCompiler = requirePart("cc", { get: "apt-get install gcc" });

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

/** The program from its source, with a place where a fault comes from. */
const FAULTY = [process.execPath, join(import.meta.dir, "../support/faulty-main.ts")] as const;

describe.each([
  ["SIGUSR1", "unhandled rejection"],
  ["SIGUSR2", "uncaught exception"],
] as const)("a fault of no request (%s)", (signal, what) => {
  test("is counted, logged and reported by /readyz, and the process drains in order and exits with 1", async () => {
    await using stage = await startSampleStage();
    const flags = [`--manifests=${stage.manifests}`, "--shutdown-delay=1m", "--drain-timeout=1m"];
    await using ingress = await startIngressProcess(FAULTY[0], flags, { script: FAULTY[1] });
    await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
    ingress.kill(signal);
    const ready = await eventually(async () => {
      const answer = await fetch(`${ingress.adminOrigin}/readyz`);
      return answer.status === 503 && (await answer.text());
    });
    expect(ready).toContain("[-]no-internal-fault failed: an internal fault occurred");
    expect(ready).toContain("[-]serving failed");
    // It drains: what is asked now is still answered.
    const response = await fetch(`${ingress.origin}/echo`, { headers: { "OpenSandbox-Ingress-To": stage.route } });
    expect(response.status).toBe(200);
    const metrics = await (await fetch(`${ingress.adminOrigin}/metrics`)).text();
    expect(metrics).toMatch(/^opensandbox_ingress_process_fault_count_total 1$/m);
    expect(ingress.readOutput()).toMatch(new RegExp(`ERROR ${what} error=TypeError at=.*faulty-main\\.ts:\\d+`));
    expect(ingress.readOutput()).not.toContain("s3cr3t");
  });

  test("makes the exit code 1 also when everything has ended", async () => {
    await using stage = await startSampleStage();
    const flags = [`--manifests=${stage.manifests}`, "--shutdown-delay=0s", "--drain-timeout=1m"];
    await using ingress = await startIngressProcess(FAULTY[0], flags, { script: FAULTY[1] });
    ingress.kill(signal);
    expect(await ingress.exited).toBe(1);
    expect(ingress.readOutput()).toMatch(/INFO {2}stopped/);
  });
});

test("a signal and its echo begin one drain, which goes to its end", async () => {
  await using stage = await startSampleStage();
  const flags = [`--manifests=${stage.manifests}`, "--shutdown-delay=500ms", "--drain-timeout=1m"];
  await using ingress = await startIngressProcess(binary, flags);
  ingress.kill("SIGTERM");
  ingress.kill("SIGTERM");
  expect(await ingress.exited).toBe(0);
  expect(ingress.readOutput().match(/draining/g)).toHaveLength(1);
});

test("the program restarts itself at most once, for any effect on the variables", async () => {
  await using stage = await startSampleStage();
  const flags = [`--manifests=${stage.manifests}`, "--shutdown-delay=0s"];
  // As after a restart whose settings were taken out of the environment.
  const env = { OPENSANDBOX_INGRESS_RESTARTED: "1", BUN_OPTIONS: "", BUN_CONFIG_MAX_HTTP_REQUESTS: "" };
  await using ingress = await startIngressProcess(binary, flags, { env });
  expect(await isAnswering(`${ingress.origin}/status.ok`)).toBe(true);
  expect(ingress.readOutput()).toContain("BUN_CONFIG_MAX_HTTP_REQUESTS");
  expect(ingress.readOutput()).toContain("not in effect after a restart");
});

test("the program does not pass its marker on, and runs without the runtime's debug variables", async () => {
  await using stage = await startSampleStage();
  const env = { BUN_CONFIG_VERBOSE_FETCH: "curl", NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_DEBUG: "net,http,tls" };
  await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`], { env });
  const headers = { "OpenSandbox-Ingress-To": stage.route, Authorization: "Bearer s3cr3t" };
  expect((await fetch(`${ingress.origin}/echo?token=s3cr3t`, { headers })).status).toBe(200);
  const environ = await Bun.file(`/proc/${ingress.pid}/environ`).text();
  for (const name of Object.keys(env)) expect(environ).not.toContain(name);
  expect(ingress.readOutput()).not.toContain("s3cr3t");
});

/** Without IPv6 in the kernel, as `ipv6.disable=1` leaves it. */
const NO_IPV6 = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
int socket(int domain, int type, int protocol) {
  if (domain == AF_INET6) { errno = EAFNOSUPPORT; return -1; }
  return ((int (*)(int, int, int))dlsym(RTLD_NEXT, "socket"))(domain, type, protocol);
}
`;

describe.skipIf(!hasCompiler)("where the kernel has no IPv6", () => {
  async function buildPreload(dir: string): Promise<Readonly<Record<string, string>>> {
    const library = join(dir, "no-ipv6.so");
    const source = join(dir, "no-ipv6.c");
    await Bun.write(source, NO_IPV6);
    const { exitCode, stderr } = await runToEnd(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"]);
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
    return { LD_PRELOAD: library };
  }

  test("the default addresses give way to IPv4, with one warning", async () => {
    using dir = tempDir();
    const env = await buildPreload(dir.path);
    await using stage = await startSampleStage();
    const flags = [`--manifests=${stage.manifests}`];
    await using ingress = await startIngressProcess(binary, flags, { env, defaultHosts: true });
    expect(await isAnswering(`${ingress.adminOrigin}/livez`)).toBe(true);
    expect(ingress.readOutput().match(/WARN .*the kernel has no IPv6/g)).toHaveLength(1);
  });

  test("an address that was chosen does not", async () => {
    using dir = tempDir();
    const env = await buildPreload(dir.path);
    await using stage = await startSampleStage();
    const flags = [`--manifests=${stage.manifests}`, "--host=::", "--port=0", "--admin-port=0"];
    const { exitCode, stdout } = await runToEnd([binary, ...flags], { env });
    expect(exitCode).toBe(1);
    expect(stdout).toContain("Cannot listen on [::]:0 (--host, --port)");
  });
});
