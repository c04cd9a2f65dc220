import { beforeEach, afterEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createKubeClient } from "../../src/kube/client.ts";
import type { KubeConfigSource } from "../../src/kube/credentials.ts";
import { KubeError } from "../../src/kube/errors.ts";
import { readKubeStream } from "../../src/kube/stream.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { createFakeClock } from "../../scripts/lib/stage/fake-clock.ts";
import { startFakeKubeApi, type FakeKubeApi } from "../support/fake-kube-api.ts";
import { createHurriedClock } from "../support/hurried-clock.ts";
import { tempDir } from "../support/temp-dir.ts";

let dir: ReturnType<typeof tempDir>;
let fake: FakeKubeApi;
beforeEach(async () => {
  dir = tempDir();
  fake = await startFakeKubeApi(dir.path);
  fake.interceptAll("other", (exchange) => exchange.respond(200, "{}"));
});
afterEach(() => {
  fake[Symbol.dispose]();
  dir[Symbol.dispose]();
});

const signal = new AbortController().signal;

/** Writes a kubeconfig for the fake and gives its path. */
function writeConfig(
  name: string,
  parts: { user?: unknown; cluster?: unknown; change?: Record<string, unknown> } = {},
) {
  const path = join(dir.path, name);
  mkdirSync(dirname(path), { recursive: true });
  const config = {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: parts.cluster ?? { server: fake.url } }],
    users: [{ name: "u", user: parts.user ?? { token: name } }],
    ...parts.change,
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

function from(kubeconfig: string | undefined, environment: KubeConfigSource["environment"] = {}): KubeConfigSource {
  return { kubeconfig, environment, serviceAccountDir: join(dir.path, "service-account") };
}

/** The headers of a request made with the source. */
async function headersOf(source: KubeConfigSource): Promise<ReadonlyMap<string, string>> {
  await createKubeClient(source).get("/x", { signal });
  return fake.exchanges.at(-1)?.headers ?? new Map<string, string>();
}

/** The failure of a request made with the source. */
async function faultOf(source: KubeConfigSource): Promise<KubeError> {
  try {
    await createKubeClient(source).get("/x", { signal });
  } catch (error) {
    if (error instanceof KubeError) return error;
    throw error;
  }
  throw new Error("the request did not fail");
}

/** Writes an exec plugin that counts its runs; `body` is shell. */
function writePlugin(body: string): { readonly path: string; runs(): number } {
  const path = join(dir.path, "plugin");
  const log = join(dir.path, "plugin.log");
  writeFileSync(path, `#!/bin/sh\necho run >> ${log}\n${body}\n`);
  chmodSync(path, 0o755);
  const runs = () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").length : 0);
  return { path, runs };
}

const EXEC = "client.authentication.k8s.io/v1";
const credential = (status: Record<string, string>) =>
  `echo '${JSON.stringify({ apiVersion: EXEC, kind: "ExecCredential", status })}'`;

describe("createKubeClient: credentials", () => {
  test("sends the user's token, Accept and User-Agent", async () => {
    const headers = await headersOf(from(writeConfig("a")));
    expect(headers.get("authorization")).toBe("Bearer a");
    expect(headers.get("accept")).toBe("application/json");
    expect(headers.get("user-agent")).toBe("opensandbox-ingress");
  });

  test("reads a token file again for each request; it counts for more than a token", async () => {
    const path = writeConfig("a", { user: { token: "other", tokenFile: "token" } });
    const client = createKubeClient(from(path));
    for (const token of ["first", "second"]) {
      writeFileSync(join(dir.path, "token"), `${token}\n`);
      await client.get("/x", { signal });
      expect(fake.exchanges.at(-1)?.headers.get("authorization")).toBe(`Bearer ${token}`);
    }
  });

  test("sends a name and a password", async () => {
    const headers = await headersOf(from(writeConfig("a", { user: { username: "jo", password: "p:w" } })));
    expect(headers.get("authorization")).toBe(`Basic ${btoa("jo:p:w")}`);
  });

  test("sends whom to act as", async () => {
    const headers = await headersOf(from(writeConfig("a", { user: { token: "t", as: "jane" } })));
    expect(headers.get("impersonate-user")).toBe("jane");
  });

  test("sends no token for a context without a user", async () => {
    const headers = await headersOf(from(writeConfig("a", { change: { users: [] } })));
    expect(headers.has("authorization")).toBe(false);
  });

  test("goes through the proxy of the cluster", async () => {
    const cluster = { server: "http://api.invalid:80", "proxy-url": fake.url };
    expect((await headersOf(from(writeConfig("a", { cluster })))).get("host")).toBe("api.invalid");
  });

  test("keeps a path in the server's address", async () => {
    await createKubeClient(from(writeConfig("a", { cluster: { server: `${fake.url}/k8s/one/` } }))).get("/x", {
      signal,
    });
    expect(fake.exchanges.at(-1)?.path).toBe("/k8s/one/x");
  });

  test("follows no redirect, which would be shown the token", async () => {
    fake.interceptAll("other", (exchange) => exchange.respond(302, "", { Location: `${fake.url}/elsewhere` }));
    const response = await createKubeClient(from(writeConfig("a"))).get("/x", { signal });
    expect(response.status).toBe(302);
    expect(fake.exchanges).toHaveLength(1);
  });
});

describe("createKubeClient: exec plugins", () => {
  test("runs a plugin from the kubeconfig's folder, passes the request to it, and runs it once", async () => {
    const plugin = writePlugin(
      `echo "$KUBERNETES_EXEC_INFO $EXTRA" > ${join(dir.path, "info")}\n${credential({ token: "t1" })}`,
    );
    const exec = {
      apiVersion: EXEC,
      command: "./plugin",
      env: [{ name: "EXTRA", value: "more" }],
      provideClusterInfo: true,
    };
    const client = createKubeClient(from(writeConfig("a", { user: { exec } })));
    await client.get("/x", { signal });
    await client.get("/x", { signal });
    expect(fake.exchanges.map(({ headers }) => headers.get("authorization"))).toEqual(["Bearer t1", "Bearer t1"]);
    expect(plugin.runs()).toBe(1);
    const info = readFileSync(join(dir.path, "info"), "utf8");
    expect(info).toEndWith(" more\n");
    expect(JSON.parse(info.slice(0, info.lastIndexOf(" ")))).toMatchObject({
      apiVersion: EXEC,
      spec: { interactive: false, cluster: { server: fake.url } },
    });
  });

  test("runs a plugin again when its token has expired", async () => {
    const plugin = writePlugin(credential({ token: "t", expirationTimestamp: "2001-01-01T00:00:00Z" }));
    const client = createKubeClient(
      from(writeConfig("a", { user: { exec: { apiVersion: EXEC, command: plugin.path } } })),
    );
    await client.get("/x", { signal });
    await client.get("/x", { signal });
    expect(plugin.runs()).toBe(2);
  });

  test("runs a plugin again when the server does not accept its token", async () => {
    const plugin = writePlugin(credential({ token: "t" }));
    const client = createKubeClient(
      from(writeConfig("a", { user: { exec: { apiVersion: EXEC, command: plugin.path } } })),
    );
    fake.intercept("other", (exchange) => exchange.respond(401, "{}"));
    await client.get("/x", { signal });
    await client.get("/x", { signal });
    expect(plugin.runs()).toBe(2);
  });

  test("reports a failed plugin's message", async () => {
    const plugin = writePlugin("echo 'please log in' >&2; exit 3");
    const fault = await faultOf(from(writeConfig("a", { user: { exec: { apiVersion: EXEC, command: plugin.path } } })));
    expect([fault.kind, fault.message]).toEqual(["credentials", "the exec plugin failed: please log in"]);
  });

  test("gives up on a plugin that hangs, and starts no second one meanwhile", async () => {
    const done = join(dir.path, "done");
    const plugin = writePlugin(`while [ ! -e ${done} ]; do sleep 0.05; done\n${credential({ token: "late" })}`);
    const source = from(writeConfig("a", { user: { exec: { apiVersion: EXEC, command: plugin.path } } }));
    const client = createKubeClient(source, { clock: createHurriedClock(600) });
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(client.get("/x", { signal })).rejects.toMatchObject({
        kind: "credentials",
        message: "the exec plugin did not answer within 60 s",
      });
    }
    writeFileSync(done, "");
    const unhurried = createKubeClient(source);
    await unhurried.get("/x", { signal });
    expect(fake.exchanges.at(-1)?.headers.get("authorization")).toBe("Bearer late");
    expect(plugin.runs()).toBe(2);
  });

  test("allows a slow plugin its time, and the answer its own time after that", async () => {
    const done = join(dir.path, "done");
    const plugin = writePlugin(`while [ ! -e ${done} ]; do sleep 0.02; done\n${credential({ token: "slow" })}`);
    const source = from(writeConfig("a", { user: { exec: { apiVersion: EXEC, command: plugin.path } } }));
    const clock = createFakeClock();
    const client = createKubeClient(source, { clock });
    const read = async () => {
      const limits = { headMaxMs: 15_000, idleMaxMs: 15_000 };
      const chunks: string[] = [];
      for await (const chunk of readKubeStream("/x", { client, clock, signal, ...limits })) {
        chunks.push(new TextDecoder().decode(chunk));
      }
      return chunks.join("");
    };
    const slow = read();
    await eventually(() => plugin.runs() === 1);
    clock.advance(59_000);
    writeFileSync(done, "");
    expect(await slow).toBe("{}");
    expect(fake.exchanges.at(-1)?.headers.get("authorization")).toBe("Bearer slow");

    fake.intercept("other", () => {});
    const unanswered = read();
    await eventually(() => fake.exchanges.length === 2);
    clock.advance(15_000);
    expect(unanswered).rejects.toMatchObject({ kind: "unreachable", message: "no answer for 15 s" });
    await unanswered.catch(() => {});
  });

  test("names the plugin when it is too slow, also with a limit of its own", async () => {
    const plugin = writePlugin("exec sleep 30");
    const source = from(writeConfig("a", { user: { exec: { apiVersion: EXEC, command: plugin.path } } }));
    const clock = createFakeClock();
    for (const [options, seconds] of [
      [{ clock }, 60],
      [{ clock, credentialsMaxMs: 5000 }, 5],
    ] as const) {
      const runs = plugin.runs();
      const request = createKubeClient(source, options).get("/x", { signal });
      await eventually(() => plugin.runs() === runs + 1);
      clock.advance(seconds * 1000);
      const message = `the exec plugin did not answer within ${seconds} s`;
      expect(request).rejects.toMatchObject({ kind: "credentials", message });
      await request.catch(() => {});
    }
    expect(fake.exchanges).toHaveLength(0);
  });

  test("gives up at once when the request is ended", async () => {
    const plugin = writePlugin("sleep 1");
    const client = createKubeClient(
      from(writeConfig("a", { user: { exec: { apiVersion: EXEC, command: plugin.path } } })),
    );
    const controller = new AbortController();
    const request = client.get("/x", { signal: controller.signal });
    controller.abort(new KubeError("silent", "enough"));
    expect(request).rejects.toMatchObject({ message: "enough" });
  });
});

describe("createKubeClient: where credentials come from", () => {
  test("takes --kubeconfig before KUBECONFIG, and that before the home folder's", async () => {
    const home = dir.path;
    const inHome = writeConfig(".kube/config");
    expect(inHome).toBe(join(home, ".kube", "config"));
    const environment = { KUBECONFIG: writeConfig("b"), HOME: home };
    expect((await headersOf(from(writeConfig("a"), environment))).get("authorization")).toBe("Bearer a");
    expect((await headersOf(from(undefined, environment))).get("authorization")).toBe("Bearer b");
    expect((await headersOf(from(undefined, { HOME: home }))).get("authorization")).toBe("Bearer .kube/config");
  });

  test("takes the pod's service account before the home folder's kubeconfig", async () => {
    writeConfig(".kube/config");
    mkdirSync(join(dir.path, "service-account"));
    writeFileSync(join(dir.path, "service-account", "token"), "pod");
    writeFileSync(join(dir.path, "service-account", "ca.crt"), "");
    const pod = { HOME: dir.path, KUBERNETES_SERVICE_HOST: "::1", KUBERNETES_SERVICE_PORT: "1" };
    // The service account speaks TLS only, to nobody here.
    expect((await faultOf(from(undefined, pod))).kind).toBe("unreachable");
    expect(fake.exchanges).toHaveLength(0);
  });

  test("merges the files of KUBECONFIG: of equal names the first counts, one may be missing", async () => {
    const one = writeConfig("one", { change: { clusters: [], "current-context": undefined } });
    const two = writeConfig("two");
    const KUBECONFIG = [one, join(dir.path, "missing"), two].join(":");
    expect((await headersOf(from(undefined, { KUBECONFIG }))).get("authorization")).toBe("Bearer one");
  });

  test("names the places that it searched if there are no credentials", async () => {
    const fault = await faultOf(from(undefined, { HOME: dir.path }));
    expect(fault.kind).toBe("credentials");
    expect(fault.message).toContain("pass --kubeconfig, set KUBECONFIG");
  });

  test("reports what is wrong with a kubeconfig, and uses it once it is valid", async () => {
    const path = join(dir.path, "late");
    const client = createKubeClient(from(path));
    const fault = async () => {
      const thrown: unknown = await client.get("/x", { signal }).then(
        () => undefined,
        (error: unknown) => error,
      );
      return thrown instanceof KubeError ? [thrown.kind, thrown.message.replace(dir.path, "")] : thrown;
    };
    expect(await fault()).toEqual(["credentials", "cannot read /late (ENOENT)"]);
    writeFileSync(path, "");
    expect((await fault())?.toString()).toContain("/late is not a kubeconfig");
    writeFileSync(path, "{]");
    expect((await fault())?.toString()).toContain("/late is not a kubeconfig");
    writeConfig("late", { change: { "current-context": undefined } });
    expect(await fault()).toEqual(["credentials", "--kubeconfig: current-context is missing"]);
    writeConfig("late", { change: { "current-context": "x" } });
    expect(await fault()).toEqual(["credentials", '--kubeconfig: context "x" is missing']);
    writeConfig("late", { change: { clusters: [] } });
    expect(await fault()).toEqual(["credentials", '--kubeconfig: cluster "k" is missing']);
    writeConfig("late", { cluster: { server: "nowhere" } });
    expect(await fault()).toEqual(["credentials", "--kubeconfig: the server is not a URL"]);
    writeConfig("late", { user: { tokenFile: "no-token" } });
    expect(await fault()).toEqual(["credentials", "cannot read /no-token (ENOENT)"]);
    writeFileSync(join(dir.path, "no-token"), " \n");
    expect((await fault())?.toString()).toContain("has no valid token");
    writeConfig("late");
    expect(await fault()).toBeUndefined();
  });

  test("reports that nobody listens", async () => {
    const fault = await faultOf(from(writeConfig("a", { cluster: { server: "http://127.0.0.1:1" } })));
    expect([fault.kind, fault.message]).toEqual([
      "unreachable",
      "http://127.0.0.1:1: ECONNREFUSED: Unable to connect.",
    ]);
  });
});
