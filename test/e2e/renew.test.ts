import { beforeAll, expect, test } from "bun:test";

import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { hasRedis, startRedis } from "../support/redis-server.ts";
import { startSampleStage } from "../support/sample-manifests.ts";

const KEY = "opensandbox:renew:intent";

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

test.skipIf(!hasRedis)(
  "ingress publishes a renew intent to a real Redis, serves while that is away, and resumes by itself",
  async () => {
    await using redis = await startRedis();
    await using stage = await startSampleStage();
    await using ingress = await startIngressProcess(binary, [
      `--manifests=${stage.manifests}`,
      "--renew-intent-enabled",
      `--renew-intent-redis-dsn=redis://127.0.0.1:${redis.port}/3`,
      "--renew-intent-queue-max-len=5",
      "--renew-intent-min-interval=0",
      "--shutdown-delay=0s",
    ]);
    const request = async (path: string): Promise<void> => {
      const headers = { "OpenSandbox-Ingress-To": stage.route };
      expect((await fetch(`${ingress.origin}${path}`, { headers })).status).toBe(200);
    };
    const published = async (): Promise<string[]> => {
      const text = await redis.cli(["LRANGE", KEY, "0", "-1"], { database: 3 });
      return text === "" ? [] : text.split("\n");
    };

    await request("/echo?token=hidden");
    await eventually(async () => (await published()).length > 0);
    const intent: unknown = JSON.parse((await published()).at(0) ?? "");
    expect(intent).toMatchObject({
      sandbox_id: "sample",
      port: stage.sandbox.port,
      request_uri: "/echo",
      namespace: "test",
    });
    expect(JSON.stringify(intent)).toMatch(/"observed_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/);
    expect(JSON.stringify(intent)).not.toContain("hidden");

    await redis.kill();
    for (let i = 0; i < 20; i++) await request("/echo");
    await redis.restart();
    await eventually(async () => {
      await request("/echo");
      return (await published()).length === 5;
    });

    // What is queued is flushed on the way out.
    await redis.cli(["DEL", KEY], { database: 3 });
    await request("/echo");
    ingress.kill("SIGTERM");
    expect(await ingress.exited).toBe(0);
    expect((await published()).length).toBeGreaterThan(0);
  },
  60_000,
);
