import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import {
  AGENT_SANDBOX,
  BATCH_SANDBOX,
  collectionPath,
  createNamespace,
  createObject,
  deleteObject,
  installCrd,
  type KubeKind,
  patchObject,
} from "../../scripts/lib/kube/kube-resources.ts";
import { createRecordingLogger } from "../../scripts/lib/stage/recording-logger.ts";
import { sandboxRecord } from "../../scripts/lib/stage/sandbox-objects.ts";
import { systemClock } from "../../src/clock.ts";
import { parseConfig } from "../../src/config/parse-config.ts";
import { createIngress } from "../../src/ingress/ingress.ts";
import { createKubeClient } from "../../src/kube/client.ts";
import { createLogger } from "../../src/log/logger.ts";
import { createKubeWaker } from "../../src/sandbox/kubernetes/waker.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { grantToNewAccount, requestToken } from "../support/kube-rbac.ts";
import { type SandboxController, startSandboxController } from "../../scripts/lib/kube/sandbox-controller.ts";

// An API server that is killed in a test takes seconds to come back.
setDefaultTimeout(90_000);

const WAKES = { "ingress.opensandbox.io/wake-on-access": "true" };
const FLAGS = [
  "--host=127.0.0.1",
  "--port=0",
  "--admin-host=127.0.0.1",
  "--admin-port=0",
  "--wake-enabled",
  "--allow-loopback-endpoints",
];

interface Stage extends AsyncDisposable {
  readonly namespace: string;
  readonly controller: SandboxController;
  /** Starts a replica of the ingress; all end with the stage. `port`: the sandboxes' port that it is asked for. */
  startIngress(flags?: readonly string[], kubeconfig?: string, port?: number): Promise<Replica>;
  createPaused(name: string, annotations?: Readonly<Record<string, string>>): Promise<void>;
}

interface Replica {
  ask(
    sandbox: string,
    init?: { method?: string; path?: string; headers?: Readonly<Record<string, string>>; signal?: AbortSignal },
  ): Promise<{ status: number; body: string }>;
  log(): string;
}

describe.skipIf(!hasKubeApiServer())("wakes on a real API server", () => {
  const api = useKubeApiServer();
  let kubeconfig = "";
  let namespaces = 0;
  beforeAll(async () => {
    kubeconfig = api().writeKubeconfig("admin");
    await installCrd(api(), BATCH_SANDBOX);
    await installCrd(api(), AGENT_SANDBOX);
  });

  async function startStage(kind: KubeKind = BATCH_SANDBOX): Promise<Stage> {
    const namespace = `wake-${++namespaces}`;
    await createNamespace(api(), namespace);
    const controller = startSandboxController(api(), kind, { namespace, address: "127.0.0.1" });
    const sandbox = Bun.serve({ hostname: "127.0.0.1", port: findFreePort(), fetch: () => new Response("awake") });
    const drains: (() => Promise<void>)[] = [];
    return {
      namespace,
      controller,
      async startIngress(flags = [], config = kubeconfig, sandboxPort = sandbox.port ?? 0) {
        const type = kind === BATCH_SANDBOX ? "batchsandbox" : "agent-sandbox";
        const own = [`--namespace=${namespace}`, `--kubeconfig=${config}`, `--provider-type=${type}`];
        const parsed = parseConfig([...FLAGS, "--shutdown-delay=0", "--drain-timeout=0", ...own, ...flags], {});
        if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
        const lines: string[] = [];
        const write = async (chunk: string) => void lines.push(chunk);
        const ingress = await createIngress(parsed.config, {
          clock: systemClock,
          process: { cpuMs: () => 0, residentBytes: () => 0, collectGarbage: () => {} },
          environment: {},
          instance: "test",
          logger: createLogger({ level: "info", format: "text", clock: systemClock, write }),
        });
        const { port } = await ingress.start();
        drains.push(() => ingress.drain());
        await eventually(() => ingress.lifecycle.phase === "ready");
        return {
          log: () => lines.join(""),
          async ask(name, { method = "GET", path = "/", headers = {}, signal } = {}) {
            const to = { "OpenSandbox-Ingress-To": `${name}-${sandboxPort}` };
            const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
              method,
              headers: { ...to, ...headers },
              ...(signal === undefined ? {} : { signal }),
            });
            return { status: answer.status, body: await answer.text() };
          },
        };
      },
      async createPaused(name, annotations = WAKES) {
        await createObject(api(), kind, { namespace, name, annotations });
        await controller.pause(name);
      },
      async [Symbol.asyncDispose]() {
        await Promise.all(drains.map((drain) => drain()));
        await controller[Symbol.asyncDispose]();
        await sandbox.stop(true);
      },
    };
  }

  test.each([
    ["BatchSandbox", BATCH_SANDBOX],
    ["Sandbox", AGENT_SANDBOX],
  ] as const)("a hundred clients for a paused %s make one PATCH and get a hundred answers", async (_, kind) => {
    await using stage = await startStage(kind);
    await stage.createPaused("sb");
    const ingress = await stage.startIngress(["--hold-release-rate=0"]);
    const resumed = stage.controller.resumes.length;
    const answers = await Promise.all(Array.from({ length: 100 }, () => ingress.ask("sb")));
    expect(new Set(answers.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set(["200 awake"]));
    expect(stage.controller.resumes.length).toBe(resumed + 1);
    expect(ingress.log().match(/a request wakes a sandbox/g)).toHaveLength(1);
  });

  test("two replicas that wake one sandbox do no harm", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const replicas = [await stage.startIngress(), await stage.startIngress()];
    const resumed = stage.controller.resumes.length;
    const answers = await Promise.all([...replicas, ...replicas].map((replica) => replica.ask("sb")));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(stage.controller.resumes.length).toBe(resumed + 1);
  });

  test.each([
    ["HEAD", { method: "HEAD" }],
    ["OPTIONS", { method: "OPTIONS" }],
    ["/favicon.ico", { path: "/favicon.ico" }],
    ["a prefetch", { headers: { "Sec-Purpose": "prefetch;prerender" } }],
    ["a prefetch of an older browser", { headers: { Purpose: "prefetch" } }],
  ] as const)("%s wakes nobody", async (_, request) => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const ingress = await stage.startIngress();
    expect((await ingress.ask("sb", request)).status).toBe(503);
    expect(ingress.log()).not.toContain("a request wakes");
  });

  test("a secured sandbox is woken by its credential only, and an open one by its annotation only", async () => {
    await using stage = await startStage();
    const token = "0123456789abcdef";
    await stage.createPaused("open", {});
    await stage.createPaused("secured", { "opensandbox.io/secure-access-token": token });
    const annotated = await stage.startIngress();
    const headers = { "OpenSandbox-Secure-Access": token };
    expect((await annotated.ask("open")).status).toBe(503);
    expect((await annotated.ask("secured", { headers })).status).toBe(503);
    const all = await stage.startIngress(["--wake-scope=all"]);
    expect((await all.ask("open")).status).toBe(503);
    expect((await all.ask("secured")).status).toBe(401);
    expect(annotated.log() + all.log()).not.toContain("a request wakes");
    expect((await all.ask("secured", { headers })).status).toBe(200);
  });

  test("a resume that fails is told to everyone who waits, and tried again a second later", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const ingress = await stage.startIngress();
    stage.controller.failing = true;
    const answers = await Promise.all(Array.from({ length: 10 }, () => ingress.ask("sb")));
    expect(new Set(answers.map(({ body }) => body))).toEqual(
      new Set(["OpenSandbox Ingress: sandbox could not be woken\n"]),
    );
    expect((await ingress.ask("sb")).body).toContain("could not be woken");
    expect(ingress.log().match(/a request wakes a sandbox/g)).toHaveLength(1);
    stage.controller.failing = false;
    await stage.controller.pause("sb");
    await eventually(async () => (await ingress.ask("sb")).status === 200);
    expect(ingress.log().match(/a request wakes a sandbox/g)).toHaveLength(2);
  });

  test("without the permission the log names verb and resource, and requests are refused", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const { namespace } = stage;
    await grantToNewAccount(api(), BATCH_SANDBOX, {
      namespace,
      serviceAccount: "reader",
      verbs: ["get", "list", "watch"],
    });
    const token = await requestToken(api(), namespace, "reader");
    const ingress = await stage.startIngress([], api().writeKubeconfig(namespace, { user: { token } }));
    expect(await ingress.ask("sb")).toEqual({ status: 503, body: "OpenSandbox Ingress: sandbox could not be woken\n" });
    await eventually(() => ingress.log().includes("cannot patch batchsandboxes.sandbox.opensandbox.io"));
    expect(ingress.log()).toContain("grant get and patch on batchsandboxes");
  });

  test("a hundred who wait get 404 when the sandbox is deleted", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const ingress = await stage.startIngress();
    stage.controller.slow = true;
    const answers = Array.from({ length: 100 }, () => ingress.ask("sb"));
    await eventually(() => stage.controller.resumes.length === 2);
    await deleteObject(api(), BATCH_SANDBOX, { namespace: stage.namespace, name: "sb" });
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([404]));
  });

  test("a browser's page wakes the sandbox, says so after two seconds, and loads when it is loaded again", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const ingress = await stage.startIngress();
    stage.controller.slow = true;
    const headers = { "Sec-Fetch-Mode": "navigate", Accept: "text/html" };
    const page = await ingress.ask("sb", { headers });
    expect(page.status).toBe(503);
    expect(page.body).toContain('http-equiv="refresh"');
    stage.controller.slow = false;
    await eventually(async () => (await ingress.ask("sb", { headers })).status === 200);
    expect(ingress.log().match(/a request wakes a sandbox/g)).toHaveLength(1);
  });

  test("a sandbox that runs before its program listens is tried again for the rest of the budget", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const port = findFreePort();
    const ingress = await stage.startIngress([], kubeconfig, port);
    const resumed = stage.controller.resumes.length;
    const answer = ingress.ask("sb", { method: "POST" });
    await eventually(() => stage.controller.resumes.length === resumed + 1);
    await eventually(() => ingress.log().includes("a request wakes a sandbox"));
    using late = Bun.serve({ hostname: "127.0.0.1", port, fetch: () => new Response("late") });
    expect(late.port).toBe(port);
    expect(await answer).toEqual({ status: 200, body: "late" });
  });

  test("the budget is of the wake: 503 with Retry-After, and the resume goes on", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const ingress = await stage.startIngress(["--wake-park-budget=500ms"]);
    stage.controller.slow = true;
    expect((await ingress.ask("sb")).status).toBe(503);
    stage.controller.slow = false;
    await eventually(async () => (await ingress.ask("sb")).status === 200);
    expect(ingress.log().match(/a request wakes a sandbox/g)).toHaveLength(1);
  });

  test("an API server that is away is told, and the next request wakes when it is back", async () => {
    await using stage = await startStage();
    await stage.createPaused("sb");
    const ingress = await stage.startIngress();
    await api().kill();
    expect(await ingress.ask("sb")).toMatchObject({ status: 503 });
    await api().restart();
    await eventually(async () => (await ingress.ask("sb")).status === 200, { maxMs: 60_000 });
  });

  test("a member of a warm pool is unknown until a claim adopts it, then found by its claim, too", async () => {
    await using stage = await startStage(AGENT_SANDBOX);
    const { namespace } = stage;
    const path = `${collectionPath(AGENT_SANDBOX, namespace)}/pool-x7k2p`;
    await createObject(api(), AGENT_SANDBOX, { namespace, name: "pool-x7k2p" });
    const change = (metadata: unknown) =>
      api().request("PATCH", path, { metadata }, { contentType: "application/merge-patch+json" });
    await change({ labels: { "agents.x-k8s.io/warm-pool-sandbox": "pool" } });
    const ingress = await stage.startIngress();
    await eventually(async () => (await ingress.ask("pool-x7k2p")).status === 404);
    expect((await ingress.ask("mine")).status).toBe(404);
    const claim = {
      apiVersion: "extensions.agents.x-k8s.io/v1alpha1",
      kind: "SandboxClaim",
      name: "mine",
      uid: "1",
      controller: true,
    };
    await change({ labels: { "agents.x-k8s.io/warm-pool-sandbox": null }, ownerReferences: [claim] });
    await eventually(async () => (await ingress.ask("mine")).status === 200);
    expect((await ingress.ask("pool-x7k2p")).status).toBe(200);
  });

  test("createKubeWaker reads again what somebody else changed between its look and its PATCH", async () => {
    await using stage = await startStage();
    const { namespace } = stage;
    await stage.createPaused("sb");
    const path = `${collectionPath(BATCH_SANDBOX, namespace)}/sb`;
    const uid = String(Reflect.get(Object((await api().request("GET", path))["metadata"]), "uid"));
    const client = createKubeClient({ kubeconfig, environment: {} });
    let patches = 0;
    const waker = createKubeWaker({
      client: {
        get: (to, options) => client.get(to, options),
        post: (to, body, options) => client.post(to, body, options),
        async patch(to, patch, options) {
          if (patches++ === 0) {
            await patchObject(api(), BATCH_SANDBOX, { namespace, name: "sb", annotations: { theirs: "kept" } });
          }
          return await client.patch(to, patch, options);
        },
      },
      providerType: "batchsandbox",
      logger: createRecordingLogger(),
      clock: systemClock,
    });
    expect(await waker.wake(sandboxRecord({ namespace, name: "sb", uid: "another" }))).toEqual({ kind: "gone" });
    expect(patches).toBe(0);
    expect(await waker.wake(sandboxRecord({ namespace, name: "sb", uid }))).toEqual({ kind: "told" });
    expect(patches).toBe(2);
    expect(await api().request("GET", path)).toMatchObject({
      metadata: { annotations: { theirs: "kept" } },
      spec: { pause: false },
    });
    expect(await waker.wake(sandboxRecord({ namespace, name: "sb", uid }))).toEqual({ kind: "told" });
    expect(patches).toBe(2);
    expect(await waker.wake(sandboxRecord({ namespace, name: "none", uid }))).toEqual({ kind: "gone" });
  });
});
