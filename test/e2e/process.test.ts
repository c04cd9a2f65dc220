import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { isAnswering, runToEnd, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";
import { startSampleStage } from "../support/sample-manifests.ts";
import { tempDir } from "../support/temp-dir.ts";

const LONG = "10m";
const SIGNALS = ["SIGTERM", "SIGINT"] as const;

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

test.each(["batchsandbox", "agent-sandbox"])(
  "ingress routes by header and host to a %s of a manifest",
  async (type) => {
    await using stage = await startSampleStage();
    const flags = [`--manifests=${stage.manifests}`, `--provider-type=${type}`];
    await using ingress = await startIngressProcess(binary, flags);
    for (const headers of [{ "OpenSandbox-Ingress-To": stage.route }, { Host: `${stage.route}.example.com` }]) {
      const response = await fetch(`${ingress.origin}/echo?a=%2F`, { headers });
      expect(response.status).toBe(200);
      expect(response.headers.get("reverse-proxy-server-powerby")).toBe("OpenSandbox-ingress");
      expect(await response.json()).toMatchObject({
        sandbox: "sample",
        url: `http://127.0.0.1:${stage.sandbox.port}/echo?a=%2F`,
      });
    }
  },
);

test("ingress --mode=uri routes by path", async () => {
  await using stage = await startSampleStage();
  await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`, "--mode=uri"]);
  const response = await fetch(`${ingress.origin}/sample/${stage.sandbox.port}/echo`);
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({
    sandbox: "sample",
    headers: { "x-forwarded-prefix": `/sample/${stage.sandbox.port}` },
  });
});

test("ingress serves probes and metrics on the admin port, and nothing there with --admin-port=0", async () => {
  await using stage = await startSampleStage();
  await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`]);
  await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
  expect(await isAnswering(`${ingress.adminOrigin}/livez`)).toBe(true);
  const metrics = await (await fetch(`${ingress.adminOrigin}/metrics`)).text();
  expect(metrics).toContain("opensandbox_ingress_");
  expect(metrics).not.toContain("sample");
  await using without = await startIngressProcess(binary, [`--manifests=${stage.manifests}`, "--admin-port=0"]);
  expect(await isAnswering(`${without.adminOrigin}/livez`)).toBe(false);
});

test("ingress --log-format=json writes nothing but JSON lines, the build metadata among them", async () => {
  await using stage = await startSampleStage();
  const flags = [`--manifests=${stage.manifests}`, "--log-format=json", "--access-log=all", "--shutdown-delay=0s"];
  await using ingress = await startIngressProcess(binary, flags);
  await fetch(`${ingress.origin}/echo?secret=1`, { headers: { "OpenSandbox-Ingress-To": stage.route } });
  await fetch(`${ingress.origin}/`, { headers: { "OpenSandbox-Ingress-To": "no-such-80" } });
  ingress.kill("SIGTERM");
  expect(await ingress.exited).toBe(0);
  const lines = ingress.readOutput().trimEnd().split("\n");
  for (const line of lines) expect(JSON.parse(line)).toBeObject();
  expect(ingress.readOutput()).toContain(Bun.version);
  expect(ingress.readOutput()).toContain("no-such");
  expect(ingress.readOutput()).not.toContain("secret");
});

test("ingress appends its log to a file and keeps the file's content", async () => {
  await using stage = await startSampleStage();
  using dir = tempDir();
  const log = join(dir.path, "log");
  await Bun.write(log, "what was there\n");
  const port = findFreePort();
  const flags = [`--manifests=${stage.manifests}`, `--port=${port}`, "--admin-port=0", "--shutdown-delay=0s"];
  const child = Bun.spawn(["sh", "-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1', "sh", log, binary, ...flags]);
  try {
    await eventually(() => isAnswering(`http://127.0.0.1:${port}/status.ok`));
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  } finally {
    child.kill("SIGKILL");
  }
  const text = await Bun.file(log).text();
  expect(text).toStartWith("what was there\n");
  expect(text).toContain(`bun ${Bun.version}`);
  expect(text).not.toContain("\0");
});

test.each(SIGNALS)("ingress ends with 0 after %s, when the requests in flight have ended", async (signal) => {
  await using stage = await startSampleStage();
  const flags = [`--manifests=${stage.manifests}`, "--shutdown-delay=0s", `--drain-timeout=${LONG}`];
  await using ingress = await startIngressProcess(binary, flags);
  const response = await fetch(`${ingress.origin}/events?count=5&interval=100`, {
    headers: { "OpenSandbox-Ingress-To": stage.route },
  });
  ingress.kill(signal);
  const frames = (await response.text()).split("\n\n").filter((frame) => frame !== "");
  expect(frames).toHaveLength(5);
  expect(await ingress.exited).toBe(0);
});

test.each(SIGNALS)("ingress ends at once at a second %s", async (signal) => {
  await using stage = await startSampleStage();
  const flags = [`--manifests=${stage.manifests}`, `--shutdown-delay=${LONG}`, `--drain-timeout=${LONG}`];
  await using ingress = await startIngressProcess(binary, flags);
  ingress.kill(signal);
  // Still serving, but no longer ready: the first signal has been handled.
  await eventually(async () => !(await isAnswering(`${ingress.adminOrigin}/readyz`)));
  expect(await isAnswering(`${ingress.origin}/status.ok`)).toBe(true);
  // Whatever comes right behind the first is taken for its echo; so it is sent until it counts.
  const exited = ingress.exited.then((code) => ({ code }));
  const end = await eventually(() => {
    ingress.kill(signal);
    return Promise.race([exited, Bun.sleep(20).then((): false => false)]);
  });
  expect(end).toEqual({ code: 1 });
});

test("ingress exits with 1 and names the port when it is taken", async () => {
  await using stage = await startSampleStage();
  const { port } = stage.sandbox;
  const flags = [`--manifests=${stage.manifests}`, "--host=127.0.0.1", `--port=${port}`, "--admin-port=0"];
  const { exitCode, stdout, stderr } = await runToEnd([binary, ...flags]);
  expect(exitCode).toBe(1);
  expect(stdout + stderr).toContain(String(port));
  expect(stdout + stderr).not.toMatch(/^\s+at /m);
});

test("ingress accepts headers up to --max-header-size, and answers 431 above it", async () => {
  const KIB = 1024;
  await using stage = await startSampleStage();
  // Bytes are all that it reads: whatever passes the ingress passes it.
  await using sandbox = await startRawUpstream("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 0\r\n\r\n");
  const ask = async (flags: readonly string[]): Promise<number[]> => {
    await using ingress = await startIngressProcess(binary, [`--manifests=${stage.manifests}`, ...flags]);
    const statuses: number[] = [];
    for (const bytes of [6 * KIB, 60 * KIB, 70 * KIB]) {
      const headers = { "OpenSandbox-Ingress-To": `sample-${sandbox.port}`, "X-Long": "a".repeat(bytes) };
      statuses.push((await fetch(`${ingress.origin}/`, { headers })).status);
    }
    return statuses;
  };
  expect(await ask([])).toEqual([200, 200, 431]);
  expect(await ask(["--max-header-size=8KiB"])).toEqual([200, 431, 431]);
  expect(await ask(["--max-header-size=128KiB"])).toEqual([200, 200, 200]);
});
