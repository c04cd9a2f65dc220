import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { createFakeClock } from "../../scripts/lib/stage/fake-clock.ts";
import { createRecordingLogger } from "../../scripts/lib/stage/recording-logger.ts";
import { batchSandbox } from "../../scripts/lib/stage/sandbox-objects.ts";
import { systemClock } from "../../src/clock.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import type { LookupHost } from "../../src/kube/server-addresses.ts";
import { createServerAddresses } from "../../src/kube/server-addresses.ts";
import { buildEndpointRules, createProvider } from "../../src/source.ts";
import { type FakeKubeApi, startFakeKubeApi, statusBody } from "../support/fake-kube-api.ts";
import { tempDir } from "../support/temp-dir.ts";

let dir: ReturnType<typeof tempDir>;
let fake: FakeKubeApi;
beforeEach(async () => {
  dir = tempDir();
  fake = await startFakeKubeApi(dir.path);
});
afterEach(() => {
  fake[Symbol.dispose]();
  dir[Symbol.dispose]();
});

/** Reads the fake's sandboxes, whose endpoints are these, by a kubeconfig that names it `host`. Gives why each is not ready. */
async function readReasons(host: string, endpoints: readonly string[], lookupHost: LookupHost): Promise<unknown> {
  const kubeconfig = join(dir.path, "kubeconfig");
  const server = `http://${host}:${new URL(fake.url).port}`;
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "k" } }],
      clusters: [{ name: "k", cluster: { server } }],
    }),
  );
  const items = endpoints.map((address, at) =>
    batchSandbox({ name: `sb-${at}`, uid: `uid-${at}`, endpoints: JSON.stringify([address]) }),
  );
  fake.interceptAll("other", (exchange) => {
    if (exchange.query.has("sendInitialEvents")) return exchange.respond(400, statusBody(400, "BadRequest", "too old"));
    if (exchange.query.has("watch")) return void exchange.stream();
    exchange.respond(200, { metadata: { resourceVersion: "1" }, items });
  });
  const parsed = parseConfig([`--kubeconfig=${kubeconfig}`, "--namespace=ns", "--allow-loopback-endpoints"], {});
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  const seams = { clock: systemClock, environment: {}, lookupHost };
  const rules = buildEndpointRules(parsed.config, seams);
  const logger = createRecordingLogger();
  const { provider } = await createProvider(parsed.config, { ...seams, logger, endpoints: rules });
  await provider.start();
  try {
    expect(await provider.whenSynced(10_000)).toBe(true);
    return endpoints.map((_, at) => {
      const found = provider.resolve(`sb-${at}`);
      return found.state === "found" ? found.record.ready || found.record.notReady : found.state;
    });
  } finally {
    await provider.stop();
  }
}

describe("createProvider: the API server of a kubeconfig", () => {
  test("createProvider refuses the addresses of an API server that a kubeconfig names, from the first list on", async () => {
    const asked: string[] = [];
    const lookupHost = async (host: string) => {
      asked.push(host);
      return ["10.77.0.1", "FD00:0:0::77"];
    };
    const reasons = await readReasons("localhost", ["10.77.0.1", "fd00::77", "10.77.0.2"], lookupHost);
    expect(reasons).toEqual([
      "sandbox not ready: sandbox sb-0 has no usable endpoint",
      "sandbox not ready: sandbox sb-1 has no usable endpoint",
      true,
    ]);
    // List and watch follow each other at once: one answer serves both.
    expect(asked).toEqual(["localhost"]);
  });

  test("createProvider reads sandboxes although the name of the API server cannot be looked up", async () => {
    const lookupHost = () => Promise.reject(new Error("no such name"));
    expect(await readReasons("localhost", ["10.77.0.1"], lookupHost)).toEqual([true]);
  });

  test("createProvider leaves loopback to its own rule, since an API server may run on this machine", async () => {
    const lookupHost = () => Promise.resolve(["127.0.0.1", "::1", "not an address"]);
    expect(await readReasons("127.0.0.1", ["127.0.0.1"], lookupHost)).toEqual([true]);
  });
});

describe("createServerAddresses", () => {
  test("createServerAddresses takes an address in a URL as it is", async () => {
    const told: string[] = [];
    const tell = createServerAddresses({ clock: systemClock, onAddresses: (found) => told.push(...found) });
    await tell("https://10.9.8.7:6443");
    await tell("https://[fd00::9]:6443/prefix");
    expect(told).toEqual(["10.9.8.7", "fd00::9"]);
  });

  test("createServerAddresses looks a name up again after 30 s, and waits for a slow answer for 2 s", async () => {
    const clock = createFakeClock();
    const answers: PromiseWithResolvers<readonly string[]>[] = [];
    const told: (readonly string[])[] = [];
    const tell = createServerAddresses({
      clock,
      lookupHost: () => {
        const answer = Promise.withResolvers<readonly string[]>();
        answers.push(answer);
        return answer.promise;
      },
      onAddresses: (found) => told.push(found),
    });
    const first = tell("https://api.test");
    clock.advance(2_000);
    await first;
    expect([answers.length, told]).toEqual([1, []]);
    // A late answer still counts.
    answers[0]?.resolve(["10.0.0.1"]);
    await tell("https://api.test");
    expect([answers.length, told]).toEqual([1, [["10.0.0.1"]]]);
    clock.advance(28_000);
    const again = tell("https://api.test");
    answers[1]?.resolve(["10.0.0.2"]);
    await again;
    expect(told).toEqual([["10.0.0.1"], ["10.0.0.2"]]);
  });
});
