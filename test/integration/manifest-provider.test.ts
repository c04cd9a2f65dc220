import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { LogFields, Logger } from "../../src/log/logger.ts";
import { createManifestProvider, type ManifestProviderOptions } from "../../src/sandbox/manifest/provider.ts";
import type { SandboxProvider, SandboxRecord } from "../../src/sandbox/provider.ts";
import { endpointRules } from "../../scripts/lib/stage/endpoint-rules.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { tempDir } from "../support/temp-dir.ts";

const providers: SandboxProvider[] = [];
afterEach(async () => {
  for (const provider of providers.splice(0)) await provider.stop();
});

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

function recordingLogger(lines: Line[]): Logger {
  const at = (level: string) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields: fields ?? {} });
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** A started provider, what it has logged and which generations have ended. */
async function start(path: string, change: Partial<ManifestProviderOptions> = {}) {
  const lines: Line[] = [];
  const ended: SandboxRecord[] = [];
  const provider = createManifestProvider({
    endpoints: endpointRules({ allowLoopback: true }),
    path,
    providerType: "batchsandbox",
    namespaces: [],
    logger: recordingLogger(lines),
    clock: systemClock,
    ...change,
  });
  providers.push(provider);
  provider.onGenerationEnd((record) => ended.push(record));
  await provider.start();
  const errors = () => lines.filter((line) => line.level === "error");
  const record = (id: string) => {
    const resolution = provider.resolve(id);
    return resolution.state === "found" ? resolution.record : undefined;
  };
  const state = (id: string) => provider.resolve(id).state;
  return { provider, lines, errors, ended, record, state };
}

function manifest(name: string, change: { endpoint?: string; uid?: string; namespace?: string } = {}): string {
  return [
    "---",
    "apiVersion: sandbox.opensandbox.io/v1alpha1",
    "kind: BatchSandbox",
    "metadata:",
    `  name: ${name}`,
    ...(change.namespace === undefined ? [] : [`  namespace: ${change.namespace}`]),
    ...(change.uid === undefined ? [] : [`  uid: ${change.uid}`]),
    "  annotations:",
    `    sandbox.opensandbox.io/endpoints: '["${change.endpoint ?? "127.0.0.2"}"]'`,
    "status: {replicas: 1, ready: 1}",
    "",
  ].join("\n");
}

const SYNC_MS = 20_000;

describe("createManifestProvider", () => {
  test("createManifestProvider reads YAML, JSON and lists of a folder, and skips other objects", async () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "a.yaml"), manifest("one") + manifest("two", { namespace: "team" }));
    const json = {
      apiVersion: "v1",
      kind: "List",
      items: [
        {
          apiVersion: "sandbox.opensandbox.io/v1alpha1",
          kind: "BatchSandbox",
          metadata: { name: "three", uid: "uid-3", annotations: { "opensandbox.io/secure-access-token": "t" } },
        },
        { apiVersion: "v1", kind: "Service", metadata: { name: "service" } },
      ],
    };
    writeFileSync(join(dir.path, "b.json"), JSON.stringify(json));
    const sandbox = { apiVersion: "agents.x-k8s.io/v1beta1", kind: "Sandbox", metadata: { name: "agent" } };
    writeFileSync(join(dir.path, "c.yml"), JSON.stringify(sandbox));
    writeFileSync(join(dir.path, "notes.txt"), manifest("four"));
    writeFileSync(join(dir.path, ".hidden.yaml"), manifest("five"));
    const { provider, record, state, errors } = await start(dir.path);
    expect(await provider.whenSynced(SYNC_MS)).toBe(true);
    expect(provider.status()).toEqual({ synced: true, fault: undefined, ageMs: 0 });
    expect(record("one")).toMatchObject({ namespace: "default", endpoint: "127.0.0.2", ready: true });
    expect(record("two")?.namespace).toBe("team");
    expect(record("three")).toMatchObject({ uid: "uid-3", accessToken: "t", ready: false });
    expect(["four", "five", "agent", "service"].filter((id) => state(id) !== "not-found")).toEqual([]);
    expect(provider.counts()).toEqual({ ready: 2, notReady: 1, ambiguous: 0 });
    expect(errors()).toEqual([]);
  });

  test("createManifestProvider reads the other kind and its names for agent-sandbox, and filters namespaces", async () => {
    using dir = tempDir();
    const path = join(dir.path, "all.yaml");
    const agent = (namespace: string, version: string) =>
      `---\napiVersion: agents.x-k8s.io/${version}\nkind: Sandbox\nmetadata: {name: sandbox-12, namespace: ${namespace}}\n` +
      `status: {podIPs: [127.0.0.3], conditions: [{type: Ready, status: "True"}]}\n`;
    writeFileSync(path, manifest("batch") + agent("a", "v1alpha1") + agent("b", "v1beta1") + agent("c", "v9"));
    const both = await start(path, { providerType: "agent-sandbox" });
    const one = await start(path, { providerType: "agent-sandbox", namespaces: ["b"] });
    expect(await both.provider.whenSynced(SYNC_MS)).toBe(true);
    expect(await one.provider.whenSynced(SYNC_MS)).toBe(true);
    expect(both.state("12")).toBe("ambiguous");
    expect(one.record("12")).toMatchObject({ namespace: "b", endpoint: "127.0.0.3", ready: true });
    expect(one.state("batch")).toBe("not-found");
    expect(both.errors().map((line) => line.fields["reason"])).toEqual(['apiVersion "agents.x-k8s.io/v9" is unknown']);
  });

  test("createManifestProvider applies additions, changes and deletions, and ends generations", async () => {
    using dir = tempDir();
    const path = join(dir.path, "a.yaml");
    writeFileSync(path, manifest("one") + manifest("two"));
    const { provider, record, state, ended } = await start(dir.path);
    await provider.whenSynced(SYNC_MS);
    const before = record("one");
    writeFileSync(path, manifest("one", { endpoint: "127.0.0.9" }) + manifest("three"));
    await eventually(() => record("one")?.endpoint === "127.0.0.9");
    expect(state("two")).toBe("not-found");
    expect(state("three")).toBe("found");
    expect(record("one")?.uid).toBe(before?.uid ?? "");
    expect(ended.map((gone) => `${gone.name} ${gone.endpoint}`).toSorted()).toEqual(["one 127.0.0.2", "two 127.0.0.2"]);
    rmSync(path);
    await eventually(() => state("one") === "not-found");
    expect(provider.counts()).toEqual({ ready: 0, notReady: 0, ambiguous: 0 });
    expect(provider.status().synced).toBe(true);
  });

  test("createManifestProvider keeps a made uid across rewrites and moves, and makes another after a deletion", async () => {
    using dir = tempDir();
    const path = join(dir.path, "a.yaml");
    writeFileSync(path, manifest("one"));
    const { provider, record, state, ended } = await start(dir.path);
    await provider.whenSynced(SYNC_MS);
    const uid = record("one")?.uid ?? "";
    expect(uid).not.toBe("");
    writeFileSync(join(dir.path, "tmp"), manifest("extra") + manifest("one"));
    renameSync(join(dir.path, "tmp"), path);
    await eventually(() => state("extra") === "found");
    expect(record("one")?.uid).toBe(uid);
    writeFileSync(path, manifest("extra2"));
    writeFileSync(join(dir.path, "b.yaml"), manifest("one"));
    await eventually(() => state("extra2") === "found");
    expect(record("one")?.uid).toBe(uid);
    expect(ended.filter((gone) => gone.name === "one")).toEqual([]);
    rmSync(join(dir.path, "b.yaml"));
    await eventually(() => state("one") === "not-found");
    writeFileSync(join(dir.path, "b.yaml"), manifest("one"));
    await eventually(() => state("one") === "found");
    expect(record("one")?.uid).not.toBe(uid);
  });

  test("createManifestProvider keeps the earlier content of an invalid file, and logs once where and why", async () => {
    using dir = tempDir();
    const path = join(dir.path, "a.yaml");
    writeFileSync(path, manifest("one"));
    writeFileSync(join(dir.path, "b.yaml"), "kind: [\n");
    const { provider, state, errors } = await start(dir.path);
    expect(await provider.whenSynced(SYNC_MS)).toBe(true);
    expect(errors()).toHaveLength(1);
    expect(errors()[0]?.fields).toMatchObject({ file: join(dir.path, "b.yaml"), line: 2 });
    writeFileSync(path, `${manifest("two")}metadata: again\n`);
    await eventually(() => errors().length === 2);
    expect(errors()[1]?.fields).toEqual({ file: path, line: 9, reason: 'duplicate key "metadata"' });
    expect([state("one"), state("two")]).toEqual(["found", "not-found"]);
    // The same content again is no news, other content is.
    writeFileSync(path, readFileSync(path));
    writeFileSync(join(dir.path, "b.yaml"), manifest("three"));
    await eventually(() => state("three") === "found");
    expect(errors()).toHaveLength(2);
    writeFileSync(path, manifest("two"));
    await eventually(() => state("two") === "found");
    expect(state("one")).toBe("not-found");
    expect(errors()).toHaveLength(2);
  });

  test("createManifestProvider never shows a part of a file that is written slowly", async () => {
    using dir = tempDir();
    const path = join(dir.path, "a.yaml");
    const names = Array.from({ length: 8 }, (_, index) => `sb-${index}`);
    writeFileSync(path, names.map((name) => manifest(name)).join(""));
    const { provider, record, ended } = await start(path);
    await provider.whenSynced(SYNC_MS);
    truncateSync(path);
    for (const name of names) {
      appendFileSync(path, manifest(name, { endpoint: "127.0.0.9" }));
      await Bun.sleep(40); // the pace of a slow writer, which is what the test is about
      expect(provider.counts().ready).toBe(8);
    }
    await eventually(() => record("sb-7")?.endpoint === "127.0.0.9");
    expect(provider.counts().ready).toBe(8);
    expect(ended).toHaveLength(8);
  });

  test("createManifestProvider follows a mounted ConfigMap whose ..data is swapped", async () => {
    using dir = tempDir();
    const version = (folder: string, files: Record<string, string>) => {
      mkdirSync(join(dir.path, folder));
      for (const [name, text] of Object.entries(files)) writeFileSync(join(dir.path, folder, name), text);
      symlinkSync(folder, join(dir.path, "..data_tmp"));
      renameSync(join(dir.path, "..data_tmp"), join(dir.path, "..data"));
    };
    version("..2026_1", { "a.yaml": manifest("one"), "b.yaml": manifest("two") });
    symlinkSync("..data/a.yaml", join(dir.path, "a.yaml"));
    symlinkSync("..data/b.yaml", join(dir.path, "b.yaml"));
    const { provider, record, state } = await start(dir.path);
    await provider.whenSynced(SYNC_MS);
    const uid = record("one")?.uid;
    version("..2026_2", { "a.yaml": manifest("one") + manifest("three") });
    rmSync(join(dir.path, "b.yaml"));
    rmSync(join(dir.path, "..2026_1"), { recursive: true });
    await eventually(() => state("three") === "found");
    expect(record("one")?.uid).toBe(uid ?? "");
    expect(state("two")).toBe("not-found");
  });

  test("createManifestProvider refuses the second of two objects with one name or one uid, and logs it once", async () => {
    using dir = tempDir();
    writeFileSync(
      join(dir.path, "a.yaml"),
      manifest("one", { uid: "u-1" }) + manifest("one", { endpoint: "127.0.0.9" }),
    );
    writeFileSync(join(dir.path, "b.yaml"), manifest("two", { uid: "u-1" }));
    const { provider, record, state, errors } = await start(dir.path);
    await provider.whenSynced(SYNC_MS);
    expect(record("one")?.endpoint).toBe("127.0.0.2");
    expect(state("two")).toBe("not-found");
    expect(errors().map((line) => line.message)).toEqual([
      `ignored sandbox default/one at ${dir.path}/a.yaml:11: it is already at ${dir.path}/a.yaml:2`,
      `ignored sandbox default/two at ${dir.path}/b.yaml:2: its uid is already at ${dir.path}/a.yaml:2`,
    ]);
    writeFileSync(join(dir.path, "c.yaml"), manifest("three"));
    await eventually(() => state("three") === "found");
    expect(errors()).toHaveLength(2);
    rmSync(join(dir.path, "a.yaml"));
    await eventually(() => state("two") === "found");
  });

  test("createManifestProvider is not synced and reports why until its path exists", async () => {
    using dir = tempDir();
    const path = join(dir.path, "later");
    const { provider, state, errors } = await start(path);
    await eventually(() => provider.status().fault !== undefined);
    expect(provider.status()).toMatchObject({
      synced: false,
      fault: `Cannot read manifests: file or folder ${path} is missing`,
    });
    expect(await provider.whenSynced(0)).toBe(false);
    const synced = provider.whenSynced(SYNC_MS);
    mkdirSync(path);
    writeFileSync(join(path, "a.yaml"), manifest("one"));
    expect(await synced).toBe(true);
    await eventually(() => state("one") === "found");
    expect(provider.status().fault).toBeUndefined();
    expect(errors()).toHaveLength(1);
  });

  test("createManifestProvider reports why its path cannot be read, and is not synced", async () => {
    using dir = tempDir();
    const { provider, errors } = await start(join(dir.path, "x".repeat(300)));
    await eventually(() => provider.status().fault !== undefined);
    expect(provider.status().fault).toContain("ENAMETOOLONG");
    expect(provider.status().synced).toBe(false);
    expect(errors()).toHaveLength(1);
  });

  test("createManifestProvider ignores an invalid object or makes it not ready, and never harms the others", async () => {
    using dir = tempDir();
    const path = join(dir.path, "a.yaml");
    const nameless = "---\napiVersion: sandbox.opensandbox.io/v1alpha1\nkind: BatchSandbox\nmetadata: {name: 1234}\n";
    writeFileSync(path, manifest("good") + manifest("bad", { endpoint: "169.254.169.254" }) + nameless);
    const { provider, record, lines } = await start(path);
    await provider.whenSynced(SYNC_MS);
    expect(record("good")?.ready).toBe(true);
    expect(record("bad")).toMatchObject({ ready: false, endpoint: "" });
    const said = lines.filter((line) => line.level === "warn" || line.level === "error");
    expect(said.map((line) => line.fields["line"])).toEqual([10, 18]);
    expect(said.map((line) => line.fields["reason"])).toEqual([
      'the endpoint "169.254.169.254" is a link-local address, which a pod cannot have',
      "metadata.name 1234 is not a Kubernetes name",
    ]);
  });

  test("createManifestProvider reports a file that is not UTF-8 or too large", async () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "a.yaml"), new Uint8Array([0x61, 0xff, 0xfe]));
    writeFileSync(join(dir.path, "b.yaml"), "");
    truncateSync(join(dir.path, "b.yaml"), 33 * 1024 * 1024);
    writeFileSync(join(dir.path, "c.yaml"), manifest("one"));
    const { provider, state, errors } = await start(dir.path);
    await provider.whenSynced(SYNC_MS);
    await eventually(() => errors().length === 2);
    expect(errors().map((line) => line.fields["reason"])).toEqual([
      "the file is not UTF-8",
      `the file is larger than ${32 * 1024 * 1024} bytes`,
    ]);
    expect(state("one")).toBe("found");
  });

  test("createManifestProvider ignores changes after stop, and stop is idempotent", async () => {
    using dir = tempDir();
    const path = join(dir.path, "a.yaml");
    writeFileSync(path, manifest("one"));
    const stopped = await start(path);
    await stopped.provider.whenSynced(SYNC_MS);
    await stopped.provider.stop();
    await stopped.provider.stop();
    const witness = await start(path);
    writeFileSync(path, manifest("two"));
    await eventually(() => witness.state("two") === "found");
    expect([stopped.state("one"), stopped.state("two")]).toEqual(["found", "not-found"]);
  });
});
