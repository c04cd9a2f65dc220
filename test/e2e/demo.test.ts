import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { KUBE_BUILD_MAX_MS } from "../../scripts/lib/kube/kube-binaries.ts";
import { hasKubeApiServer } from "../support/kube-fixture.ts";
import { isAnswering, runToEnd } from "../../scripts/lib/ingress-process.ts";

const DEMO = [process.execPath, join(import.meta.dir, "../../scripts/demo.ts")];

/** The API server is built where it is missing, which takes minutes. */
const DEMO_KUBERNETES_MAX_MS = KUBE_BUILD_MAX_MS;

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

function choosePorts() {
  const [port, adminPort, sandboxPort] = [findFreePort(), findFreePort(), findFreePort()];
  const flags = [`--port=${port}`, `--admin-port=${adminPort}`, `--sandbox-port=${sandboxPort}`];
  return { port, adminPort, sandboxPort, flags };
}

test.each(["SIGINT", "SIGTERM"] as const)("demo routes to both sandboxes, and %s stops all of it", async (signal) => {
  const { port, adminPort, sandboxPort, flags } = choosePorts();
  const env = { ...process.env, INGRESS_BINARY: binary };
  await using demo = Bun.spawn([...DEMO, ...flags], { env, stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const output = demo.stdout.text();
  await eventually(() => isAnswering(`http://127.0.0.1:${port}/status.ok`));
  for (const name of ["demo-one", "demo-two"]) {
    const sandbox = process.platform === "darwin" && name === "demo-two" ? sandboxPort + 1 : sandboxPort;
    const headers = { Host: `${name}-${sandbox}.localhost:${port}` };
    await eventually(async () => {
      const page = await (await fetch(`http://127.0.0.1:${port}/`, { headers })).text();
      return page.includes(`<h1>${name}</h1>`);
    });
  }
  demo.kill(signal);
  expect(await demo.exited).toBe(0);
  expect(await isAnswering(`http://127.0.0.1:${port}/status.ok`)).toBe(false);
  expect(await isAnswering(`http://127.0.0.1:${adminPort}/livez`)).toBe(false);
  expect(await output).toContain(`http://demo-one-${sandboxPort}.localhost:${port}/`);
});

test.skipIf(!hasKubeApiServer())(
  "demo --kubernetes routes to sandboxes of a real API server, as long as they are there",
  async () => {
    const { port, sandboxPort, flags } = choosePorts();
    const env = { ...process.env, INGRESS_BINARY: binary };
    const command = [...DEMO, "--kubernetes", ...flags];
    await using demo = Bun.spawn(command, { env, stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    const output: string[] = [];
    const read = (async () => {
      const decoder = new TextDecoder();
      for await (const bytes of demo.stdout) output.push(decoder.decode(bytes, { stream: true }));
    })();
    const headers = { Host: `demo-one-${sandboxPort}.localhost:${port}` };
    const ask = async () => (await fetch(`http://127.0.0.1:${port}/`, { headers })).status;
    await eventually(async () => (await ask()) === 200, { maxMs: DEMO_KUBERNETES_MAX_MS });
    const kubeconfig = await eventually(() => /export KUBECONFIG='([^']+)'/.exec(output.join(""))?.[1] ?? false);
    expect(kubeconfig).toContain("demo-kube-");
    demo.kill("SIGTERM");
    expect(await demo.exited).toBe(0);
    await read;
    expect(existsSync(String(kubeconfig))).toBe(false);
  },
  DEMO_KUBERNETES_MAX_MS,
);

test("demo reports in one line that its port is taken", async () => {
  const { port, flags } = choosePorts();
  using other = Bun.serve({ hostname: "127.0.0.1", port, fetch: () => new Response() });
  expect(other.port).toBe(port);
  const { exitCode, stderr } = await runToEnd([...DEMO, ...flags], { env: { INGRESS_BINARY: binary } });
  expect(exitCode).toBe(1);
  expect(stderr.trimEnd().split("\n")).toEqual([
    `demo: port ${port} is taken: stop what listens on it, or choose others with --port and --admin-port`,
  ]);
});

test("demo exits with 2 at an unknown flag", async () => {
  expect(await runToEnd([...DEMO, "--no-such-flag"])).toMatchObject({ exitCode: 2, stdout: "" });
});
