import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Metrics } from "../../src/metrics/metrics.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { createTestMetrics } from "../support/metrics.ts";
import { parsePrometheusText } from "../support/prometheus-text.ts";

/** More than a body that is read whole. */
const UPLOAD_BYTES = 100_000;

describe("the proxy's metrics", () => {
  let metrics: Metrics;
  let proxy: ProxyHarness;
  let sandbox: Bun.Server<undefined>;
  let release = Promise.withResolvers<void>();
  beforeAll(() => {
    sandbox = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request, server) {
        const { pathname } = new URL(request.url);
        if (pathname === "/ws" && server.upgrade(request)) return undefined;
        if (pathname === "/upload") return new Response(String((await request.bytes()).byteLength));
        if (pathname === "/stream") {
          const { promise } = release;
          return new Response(
            new ReadableStream({
              async start(controller) {
                controller.enqueue("12345");
                await promise;
                controller.enqueue("678");
                controller.close();
              },
            }),
          );
        }
        return new Response("ok");
      },
      websocket: { message: (socket, message) => void socket.send(message + "!") },
    });
    metrics = createTestMetrics();
    proxy = startProxy({}, { metrics });
    proxy.provider.set({ name: "sb" });
    metrics.observe({ openBytes: () => proxy.server.openBytes() });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await sandbox.stop(true);
    await metrics.stop();
  });

  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${proxy.port}${path}`, {
      ...init,
      headers: { "OpenSandbox-Ingress-To": `sb-${sandbox.port}` },
    });

  /** The value of a series. Undefined: there is none. */
  async function read(name: string, labels: Readonly<Record<string, string>>): Promise<number | undefined> {
    const samples = parsePrometheusText(await metrics.scrape());
    return samples.find(
      (sample) => sample.name === `opensandbox_ingress_${name}` && Bun.deepEquals(sample.labels, labels),
    )?.value;
  }
  const bytes = async (direction: "in" | "out", type = "http") =>
    (await read("http_body_bytes_total", { direction, proxy_type: type })) ?? 0;
  const answers = async (type = "http") => (await read("http_first_byte_duration_count", { proxy_type: type })) ?? 0;

  test("bytes and the time to the first byte of a stream count while it is open, and once", async () => {
    const [before, answered] = [await bytes("out"), await answers()];
    release = Promise.withResolvers();
    const reader = (await ask("/stream")).body?.getReader();
    await reader?.read();
    await eventually(async () => (await bytes("out")) === before + 5);
    expect(await answers()).toBe(answered + 1);
    expect(proxy.server.counters().exchanges).toBe(1);
    release.resolve();
    while ((await reader?.read())?.done === false);
    await eventually(() => proxy.server.counters().exchanges === 0);
    expect(await bytes("out")).toBe(before + 8);
    expect(await answers()).toBe(answered + 1);
  });

  test("bytes of a small and of a streamed upload count", async () => {
    const before = await bytes("in");
    for (const size of [10, UPLOAD_BYTES]) {
      expect(await (await ask("/upload", { method: "POST", body: "x".repeat(size) })).text()).toBe(String(size));
    }
    await eventually(() => proxy.server.counters().exchanges === 0);
    expect(await bytes("in")).toBe(before + 10 + UPLOAD_BYTES);
  });

  test("messages of a WebSocket count apart from requests", async () => {
    const [http, answered] = [await bytes("out"), await answers("websocket")];
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/ws`, {
      headers: { "OpenSandbox-Ingress-To": `sb-${sandbox.port}` },
    });
    const message = Promise.withResolvers<unknown>();
    socket.addEventListener("open", () => socket.send("hello"));
    socket.addEventListener("message", ({ data }) => message.resolve(data));
    expect(await message.promise).toBe("hello!");
    expect([await bytes("in", "websocket"), await bytes("out", "websocket")]).toEqual([5, 6]);
    expect(await answers("websocket")).toBe(answered + 1);
    socket.close();
    await eventually(() => proxy.server.counters().exchanges === 0);
    expect([await bytes("in", "websocket"), await bytes("out", "websocket")]).toEqual([5, 6]);
    expect(await bytes("out")).toBe(http);
  });

  test("a refusal has no first byte of a sandbox", async () => {
    const answered = await answers();
    const headers = { "OpenSandbox-Ingress-To": "nobody-80" };
    expect((await fetch(`http://127.0.0.1:${proxy.port}/`, { headers })).status).toBe(404);
    expect(await answers()).toBe(answered);
  });
});
