import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import { createIngress } from "../../src/ingress.ts";
import { createLogger } from "../../src/log/logger.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";

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
  expect(await ingress.start()).toEqual({ port: 0, adminPort: 0 });
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
