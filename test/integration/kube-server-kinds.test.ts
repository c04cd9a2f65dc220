import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { createKubeClient, type KubeClient } from "../../src/kube/client.ts";
import { DEFAULT_REFLECTOR_LIMITS, type ReflectorLimits } from "../../src/kube/reflector-limits.ts";
import { listObjects } from "../../src/kube/list.ts";
import { Reflector } from "../../src/kube/reflector.ts";
import { streamObjects } from "../../src/kube/watch.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import type { KubeApiServer } from "../../scripts/lib/kube/kube-api-server.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import {
  BATCH_SANDBOX,
  createNamespace,
  createObject,
  deleteObject,
  installCrd,
  readyAt,
} from "../../scripts/lib/kube/kube-resources.ts";
import { createRecordingLogger } from "../../scripts/lib/stage/recording-logger.ts";
import { createRecordingStore } from "../support/recording-store.ts";
import { openTcpGate } from "../../scripts/lib/stage/tcp-gate.ts";

setDefaultTimeout(60_000);

const NAMESPACE = "kinds";
const RESOURCE = { group: BATCH_SANDBOX.group, version: BATCH_SANDBOX.version, plural: BATCH_SANDBOX.plural };

/** A reflector over a real API server, with the queries of its requests. */
function startReflector(kubeconfig: string, limits: Partial<ReflectorLimits> = {}) {
  const client = createKubeClient({ kubeconfig, environment: {} });
  const queries: string[] = [];
  const recording: KubeClient = {
    get(path, options) {
      const query = new URLSearchParams(path.split("?")[1]);
      query.delete("timeoutSeconds");
      queries.push(query.toString());
      return client.get(path, options);
    },
  };
  const store = createRecordingStore();
  const logger = createRecordingLogger();
  const reflector = new Reflector({
    client: recording,
    resource: { ...RESOURCE, namespace: NAMESPACE },
    findVersion: () => Promise.resolve(RESOURCE.version),
    store,
    logger,
    onSynced() {},
    clock: systemClock,
    limits,
  });
  reflector.start();
  const names = () => [...store.objects.keys()].map((key) => key.slice(NAMESPACE.length + 1)).toSorted();
  return { reflector, store, logger, queries, names, [Symbol.asyncDispose]: () => reflector.stop() };
}

const STREAM = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&watch=true&allowWatchBookmarks=true";
const streamFrom = (position: string) =>
  `sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=${position}&watch=true&allowWatchBookmarks=true`;
const watchFrom = (position: string) => `resourceVersion=${position}&watch=true&allowWatchBookmarks=true`;
const positionIn = (query: string | undefined) => new URLSearchParams(query).get("resourceVersion") ?? "";

async function prepare(server: KubeApiServer): Promise<void> {
  await installCrd(server, BATCH_SANDBOX);
  await createNamespace(server, NAMESPACE);
  for (const name of ["gone", "stays"]) {
    await createObject(server, BATCH_SANDBOX, { namespace: NAMESPACE, name, ...readyAt("10.0.0.1") });
  }
}

/** Loses history while the reflector is away, and gives what it asked for when it came back. */
async function loseHistory(server: KubeApiServer, name: string): Promise<readonly string[]> {
  await using gate = await openTcpGate(server.port);
  const kubeconfig = server.writeKubeconfig(name, { server: `https://127.0.0.1:${gate.port}` });
  await using bench = startReflector(kubeconfig);
  await eventually(() => bench.reflector.status().synced);
  expect(bench.names()).toEqual(["gone", "stays"]);
  await gate.close();
  const before = bench.queries.length;
  await deleteObject(server, BATCH_SANDBOX, { namespace: NAMESPACE, name: "gone" });
  await createObject(server, BATCH_SANDBOX, { namespace: NAMESPACE, name: "new", ...readyAt("10.0.0.3") });
  await server.compact();
  // Its watch cache, which would still know, goes with it.
  await server.kill();
  await server.restart();
  await gate.open();
  await eventually(() => Bun.deepEquals(bench.names(), ["new", "stays"]));
  expect(bench.store.replacements()).toBe(2);
  // The attempts in between found nobody.
  return [...new Set(bench.queries.slice(before))];
}

/** What a list and a stream say when they are asked for a version that is yet to come. */
async function askForTheFuture(server: KubeApiServer): Promise<readonly unknown[]> {
  const client = createKubeClient({ kubeconfig: server.writeKubeconfig("future"), environment: {} });
  const { signal } = new AbortController();
  const common = { client, clock: systemClock, signal, limits: DEFAULT_REFLECTOR_LIMITS };
  const future = "999999999";
  const kindOf = (error: unknown) => (error instanceof Error && "kind" in error ? error.kind : error);
  const watch = { ...common, random: Math.random, onOpen() {}, onChange() {} };
  return Promise.all([
    listObjects({ ...RESOURCE, namespace: NAMESPACE }, { ...common, notOlderThan: future, onObject() {} }).catch(
      kindOf,
    ),
    streamObjects({ ...RESOURCE, namespace: NAMESPACE }, future, watch).catch(kindOf),
  ]);
}

describe.skipIf(!hasKubeApiServer())("Reflector on an API server that serves streams", () => {
  const api = useKubeApiServer();
  beforeAll(() => prepare(api()));

  test("takes objects and changes from one stream, and after a 410 a stream not older than its position", async () => {
    {
      await using bench = startReflector(api().writeKubeconfig("streams"));
      await eventually(() => bench.reflector.status().synced);
      expect(bench.names()).toEqual(["gone", "stays"]);
      await createObject(api(), BATCH_SANDBOX, { namespace: NAMESPACE, name: "late", ...readyAt("10.0.0.2") });
      await eventually(() => bench.names().includes("late"));
      await deleteObject(api(), BATCH_SANDBOX, { namespace: NAMESPACE, name: "late" });
      await eventually(() => !bench.names().includes("late"));
      expect(bench.queries).toEqual([STREAM]);
    }
    const [watch, stream, ...more] = await loseHistory(api(), "streams-lost");
    const position = positionIn(watch);
    expect([watch, stream, more]).toEqual([watchFrom(position), streamFrom(position), []]);
  });

  test("is told when it asks for a version that is yet to come", async () => {
    expect(await askForTheFuture(api())).toEqual(["ahead", "ahead"]);
  });
});

describe.skipIf(!hasKubeApiServer())("Reflector on an API server that does not serve streams", () => {
  const api = useKubeApiServer({ args: ["--feature-gates=WatchList=false"] });
  beforeAll(() => prepare(api()));

  test("lists in pages, and after a 410 a list not older than its position", async () => {
    {
      await using bench = startReflector(api().writeKubeconfig("lists"), { pageSize: 1 });
      await eventually(() => bench.reflector.status().synced);
      expect(bench.names()).toEqual(["gone", "stays"]);
      expect(bench.queries.slice(0, 2)).toEqual([STREAM, "limit=1"]);
      expect(bench.queries[2]).toMatch(/^continue=.*&limit=1$/);
      expect(bench.queries.slice(3)).toEqual([watchFrom(positionIn(bench.queries[3]))]);
      expect(bench.logger.find("error", /./)).toEqual([]);
    }
    const [lost, list, watch, ...more] = await loseHistory(api(), "lists-lost");
    expect(list).toBe(`resourceVersion=${positionIn(lost)}&resourceVersionMatch=NotOlderThan`);
    expect([watch, more]).toEqual([watchFrom(positionIn(watch)), []]);
  });

  test("is told when it asks for a version that is yet to come, or for a stream", async () => {
    expect(await askForTheFuture(api())).toEqual(["ahead", "refused"]);
  });
});

describe.skipIf(!hasKubeApiServer())("Reflector on an API server without a watch cache", () => {
  const api = useKubeApiServer({ args: ["--watch-cache=false"] });
  beforeAll(() => prepare(api()));

  test("continues from its position after silence, without listing everything", async () => {
    await using bench = startReflector(api().writeKubeconfig("silent"), { silenceMaxMs: 500, watchMinMs: 100 });
    await eventually(() => bench.queries.filter((query) => query.startsWith("resourceVersion=")).length >= 4);
    expect(bench.queries[0]).toBe(STREAM);
    const position = positionIn(bench.queries.find((query) => query.startsWith("resourceVersion=")));
    expect(new Set(bench.queries.slice(1))).toEqual(new Set(["limit=1", watchFrom(position)]));
    expect(bench.store.replacements()).toBe(1);
    expect(bench.logger.find("error", /./)).toEqual([]);
    await createObject(api(), BATCH_SANDBOX, { namespace: NAMESPACE, name: "late", ...readyAt("10.0.0.2") });
    await eventually(() => bench.names().includes("late"));
    expect(bench.store.replacements()).toBe(1);
  });

  test("is told when it asks for a version that is yet to come", async () => {
    expect(await askForTheFuture(api())).toEqual(["ahead", "ahead"]);
  });
});
