import { expect, test } from "bun:test";
import { $ } from "bun";
import { writeFileSync } from "node:fs";
import { systemClock } from "../../src/clock.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import { createIngress } from "../../src/ingress/ingress.ts";
import { createLogger } from "../../src/log/logger.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeTlsAuthority } from "../support/tls-authority.ts";

const FLAGS = ["--host=127.0.0.1", "--port=0", "--admin-port=0", "--shutdown-delay=0", "--drain-timeout=0"];

async function buildIngress(provider: TableProvider, flags: readonly string[] = []) {
  const parsed = parseConfig(["--all-namespaces", ...FLAGS, ...flags], {});
  if (parsed.kind !== "run") throw new Error(`expected a configuration, not ${parsed.kind}`);
  const lines: string[] = [];
  const write = async (chunk: string) => void lines.push(chunk);
  const logger = createLogger({ level: "info", format: "text", clock: systemClock, write });
  const ingress = await createIngress(parsed.config, {
    clock: systemClock,
    process: { cpuMs: () => 0, residentBytes: () => 0, collectGarbage: () => {} },
    environment: {},
    instance: "test",
    logger,
    provider,
  });
  return { ingress, lines };
}

async function failureOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: unknown) => String(error),
  );
}

test("ingress.start opens nothing when drain has been called before", async () => {
  const provider = createTableProvider();
  let starts = 0;
  const { ingress, lines } = await buildIngress({
    ...provider,
    start() {
      starts += 1;
      return Promise.resolve();
    },
  });
  await ingress.drain();
  expect(await ingress.start()).toEqual({ port: 0, tlsPort: 0, adminPort: 0 });
  expect(starts).toBe(0);
  expect(lines.join("")).not.toContain("listening");
  expect(ingress.lifecycle.phase).toBe("stopped");
});

test("ingress.start opens no port after a drain has begun meanwhile", async () => {
  const { ingress } = await buildIngress(createTableProvider());
  // Start is reading the keys now.
  const started = ingress.start();
  const drained = ingress.drain();
  expect((await started).port).toBe(0);
  await drained;
});

test("ingress.start names the flags of a port that it cannot have", async () => {
  using taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("") });
  const place = `127.0.0.1:${taken.port}`;
  const traffic = await buildIngress(createTableProvider(), [`--port=${taken.port}`]);
  expect(await failureOf(traffic.ingress.start())).toContain(`Cannot listen on ${place} (--host, --port)`);
  const adminFlags = [`--admin-port=${taken.port}`, "--admin-host=127.0.0.1"];
  const admin = await buildIngress(createTableProvider(), adminFlags);
  expect(await failureOf(admin.ingress.start())).toContain(`Cannot listen on ${place} (--admin-host, --admin-port)`);
});

test("ingress.start opens TLS beside the plain port, and takes a changed pair from its files", async () => {
  using dir = tempDir();
  const authority = await makeTlsAuthority(dir.path);
  const [first, second] = [await authority.issue("first"), await authority.issue("second")];
  const files = [`--tls-cert-file=${first.certFile}`, `--tls-key-file=${first.keyFile}`, "--tls-port=0"];
  const { ingress, lines } = await buildIngress(createTableProvider(), [...files, "--admin-host=127.0.0.1"]);
  const { port, tlsPort } = await ingress.start();
  const show = async (): Promise<string> =>
    (await $`openssl s_client -connect 127.0.0.1:${tlsPort} < /dev/null`.quiet().nothrow()).text();
  expect((await fetch(`http://127.0.0.1:${port}/status.ok`)).status).toBe(200);
  const asked = await fetch(`https://localhost:${tlsPort}/status.ok`, { keepalive: false, tls: { ca: authority.ca } });
  expect(asked.status).toBe(200);
  expect(await show()).toContain("CN = first");
  writeFileSync(first.certFile, second.cert);
  writeFileSync(first.keyFile, second.key);
  await eventually(async () => (await show()).includes("CN = second"));
  writeFileSync(first.keyFile, "broken");
  await eventually(() => lines.join("").includes("cannot use the TLS files"));
  expect(await show()).toContain("CN = second");
  await ingress.drain();
  expect(await failureOf(fetch(`https://localhost:${tlsPort}/`, { keepalive: false }))).not.toBe("none");
}, 60_000);

test("ingress.start with --tls-only opens no plain port, and names the flags of a TLS port or file that it cannot have", async () => {
  using dir = tempDir();
  const authority = await makeTlsAuthority(dir.path);
  const pair = await authority.issue("only");
  const files = [`--tls-cert-file=${pair.certFile}`, `--tls-key-file=${pair.keyFile}`, "--tls-only"];
  const { ingress } = await buildIngress(createTableProvider(), [...files, "--tls-port=0"]);
  const { port, tlsPort } = await ingress.start();
  expect(port).toBe(0);
  const ask = () => fetch(`https://localhost:${tlsPort}/status.ok`, { keepalive: false, tls: { ca: authority.ca } });
  expect((await ask()).status).toBe(200);
  const again = await buildIngress(createTableProvider(), [...files, `--tls-port=${tlsPort}`]);
  expect(await failureOf(again.ingress.start())).toContain(
    `Cannot listen on 127.0.0.1:${tlsPort} (--host, --tls-port)`,
  );
  expect((await ask()).status).toBe(200);
  await ingress.drain();
  const missing = [files[0] ?? "", "--tls-key-file=/none"];
  const without = await buildIngress(createTableProvider(), [...missing, "--tls-port=0"]);
  expect(await failureOf(without.ingress.start())).toContain("/none");
}, 60_000);
