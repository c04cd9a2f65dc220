import { describe, expect, test } from "bun:test";
import { silentLogger } from "../../../src/log/logger.ts";
import type { SandboxRecord } from "../../../src/sandbox/provider.ts";
import { SandboxTable } from "../../../src/sandbox/table.ts";
import { sandboxRecord } from "../../../scripts/lib/stage/sandbox-objects.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

function tableWithEnds(): { table: SandboxTable; ended: SandboxRecord[] } {
  const table = new SandboxTable();
  const ended: SandboxRecord[] = [];
  table.onGenerationEnd((record) => ended.push(record));
  return { table, ended };
}

const keyOf = (record: SandboxRecord) => `${record.namespace}/${record.name}`;

describe("SandboxTable.lookup", () => {
  test("SandboxTable.lookup finds only records that were set", () => {
    const table = new SandboxTable();
    const record = sandboxRecord();
    table.set(record);
    expect(table.lookup("sb")).toMatchObject({ state: "found", record });
    expect(table.lookup("SB").state).toBe("not-found");
    expect(table.lookup("__proto__").state).toBe("not-found");
  });

  test("SandboxTable.lookup returns ambiguous while a name is in two namespaces, and finds it when one of them is deleted", () => {
    const table = new SandboxTable();
    const [a, b, c] = ["a", "b", "c"].map((namespace) => sandboxRecord({ namespace, uid: `uid-${namespace}` }));
    if (a === undefined || b === undefined || c === undefined) throw new Error("unreachable");
    for (const record of [a, b, c]) table.set(record);
    expect(table.lookup("sb").state).toBe("ambiguous");
    expect(table.counts()).toEqual({ ready: 0, notReady: 0, ambiguous: 3 });
    table.remove("a", "sb");
    expect(table.lookup("sb").state).toBe("ambiguous");
    table.remove("c", "sb");
    expect(table.lookup("sb")).toMatchObject({ state: "found", record: b });
    expect(table.counts()).toEqual({ ready: 1, notReady: 0, ambiguous: 0 });
  });

  test("SandboxTable.remove of an object that is not there leaves its namesake alone", () => {
    const { table, ended } = tableWithEnds();
    table.set(sandboxRecord());
    table.remove("other", "sb");
    table.remove("ns", "nobody");
    expect(table.lookup("sb").state).toBe("found");
    expect(ended).toEqual([]);
  });
});

describe("SandboxTable.onGenerationEnd", () => {
  const first = sandboxRecord();

  test.each([
    ["uid", { uid: "uid-2" }],
    ["endpoint", { endpoint: "10.0.0.8" }],
    ["endpoint, which is gone", { endpoint: "", ready: false, notReady: "gone" }],
    ["map of ports", { endpoint: "80=10.0.0.7:80", ports: new Map([[80, "10.0.0.7:80"]]) }],
  ] as const)("SandboxTable.onGenerationEnd tells of a changed %s, with the record that is over", (_, change) => {
    const { table, ended } = tableWithEnds();
    table.set(first);
    table.set(sandboxRecord(change));
    expect(ended).toMatchObject([first]);
  });

  test.each([
    ["ready", { ready: false, notReady: "not ready" }],
    ["token", { accessToken: "secret" }],
    ["policy", { policy: { hostHeader: "preserve" } }],
  ] as const)("SandboxTable.onGenerationEnd is silent when only %s changes", (_, change) => {
    const { table, ended } = tableWithEnds();
    table.set(first);
    table.set(sandboxRecord(change));
    expect(ended).toEqual([]);
    expect(table.lookup("sb")).toMatchObject({ state: "found", record: sandboxRecord(change) });
  });

  test("SandboxTable.onGenerationEnd reports a removed object after its removal", () => {
    const table = new SandboxTable();
    const seen: string[] = [];
    table.onGenerationEnd((record) => seen.push(table.lookup(record.name).state));
    table.set(first);
    table.remove("ns", "sb");
    expect(seen).toEqual(["not-found"]);
  });

  test("SandboxTable survives a listener that throws, logs it and calls the others", () => {
    const errors: string[] = [];
    const table = new SandboxTable({ logger: { ...silentLogger, error: (message) => errors.push(message) } });
    const ended: SandboxRecord[] = [];
    table.onGenerationEnd(() => {
      throw new Error("broken listener");
    });
    table.onGenerationEnd((record) => ended.push(record));
    table.set(first);
    table.remove("ns", "sb");
    expect(ended).toMatchObject([first]);
    expect(errors).toHaveLength(1);
  });
});

describe("SandboxTable.replaceAll", () => {
  test("SandboxTable.replaceAll of everything ends only missing and changed objects", () => {
    const { table, ended } = tableWithEnds();
    const old = ["gone", "new-uid", "moved", "same"].map((name) => sandboxRecord({ name, uid: `uid-${name}` }));
    for (const record of old) table.set(record);
    table.replaceAll(undefined, [
      sandboxRecord({ name: "new-uid", uid: "uid-other" }),
      sandboxRecord({ name: "moved", uid: "uid-moved", endpoint: "10.9.9.9" }),
      sandboxRecord({ name: "same", uid: "uid-same", ready: false, notReady: "later" }),
      sandboxRecord({ name: "came", uid: "uid-came" }),
    ]);
    expect(ended.map((record) => record.name).toSorted()).toEqual(["gone", "moved", "new-uid"]);
    expect(table.counts()).toEqual({ ready: 3, notReady: 1, ambiguous: 0 });
    expect(table.lookup("gone").state).toBe("not-found");
    expect(table.lookup("came").state).toBe("found");
  });

  test("SandboxTable.replaceAll of a namespace leaves other namespaces alone and clears an ambiguity", () => {
    const { table, ended } = tableWithEnds();
    table.set(sandboxRecord({ namespace: "a", uid: "a-1" }));
    table.set(sandboxRecord({ namespace: "b", uid: "b-1" }));
    table.set(sandboxRecord({ namespace: "b", name: "other", uid: "b-2" }));
    expect(table.lookup("sb").state).toBe("ambiguous");
    table.replaceAll("a", [sandboxRecord({ namespace: "a", name: "new", uid: "a-2" })]);
    expect(ended.map((record) => record.uid)).toEqual(["a-1"]);
    expect([...table.records()].map(keyOf).toSorted()).toEqual(["a/new", "b/other", "b/sb"]);
    expect(table.lookup("sb").state).toBe("found");
  });

  test("SandboxTable.beginReplace shows nothing before commit, and nothing at all after abort", () => {
    const { table, ended } = tableWithEnds();
    table.set(sandboxRecord());
    const aborted = table.beginReplace(undefined);
    aborted.add(sandboxRecord({ name: "never" }));
    aborted.abort();
    const replacement = table.beginReplace(undefined);
    replacement.add(sandboxRecord({ name: "new", uid: "uid-2" }));
    expect(table.lookup("sb").state).toBe("found");
    expect(table.lookup("new").state).toBe("not-found");
    expect(ended).toEqual([]);
    replacement.commit();
    expect(table.lookup("sb").state).toBe("not-found");
    expect(table.lookup("new").state).toBe("found");
    expect(table.lookup("never").state).toBe("not-found");
    expect(() => replacement.add(sandboxRecord())).toThrow("the replacement is over");
    expect(() => aborted.commit()).toThrow("the replacement is over");
  });

  test("SandboxTable.beginReplace forgets an object that was added and removed, and keeps the last state of one", () => {
    const { table, ended } = tableWithEnds();
    const [gone, changed] = [sandboxRecord({ name: "gone" }), sandboxRecord({ name: "changed" })];
    table.set(gone);
    const replacement = table.beginReplace("ns");
    replacement.add(gone);
    replacement.add(changed);
    replacement.remove("ns", "gone");
    replacement.remove("ns", "never");
    replacement.remove("other", "changed");
    replacement.add({ ...changed, endpoint: "10.0.0.8" });
    expect(table.lookup("gone").state).toBe("found");
    replacement.commit();
    expect([...table.records()].map(({ name, endpoint }) => [name, endpoint])).toEqual([["changed", "10.0.0.8"]]);
    expect(ended).toMatchObject([gone]);
    expect(() => replacement.remove("ns", "changed")).toThrow("the replacement is over");
  });

  test("SandboxTable.beginReplace leaves a record of another namespace out", () => {
    const table = new SandboxTable();
    table.replaceAll("a", [sandboxRecord({ namespace: "b" })]);
    expect(table.lookup("sb").state).toBe("not-found");
  });
});

describe("SandboxTable tells since when a sandbox is as it is", () => {
  function stage() {
    const clock = createFakeClock(1_000);
    const table = new SandboxTable({ clock });
    const since = (name = "sb") => table.find("ns", name)?.sinceMs;
    return { clock, table, since };
  }
  const waits = sandboxRecord({ ready: false, notReady: "waits" });

  test.each<[string, Partial<SandboxRecord>, boolean]>([
    ["readiness", { ready: true, notReady: "" }, true],
    ["the reason", { notReady: "other" }, true],
    ["the uid", { uid: "uid-2" }, true],
    ["the endpoint", { endpoint: "10.0.0.8" }, false],
    ["the token", { accessToken: "x" }, false],
    ["nothing", {}, false],
  ])("SandboxTable.set of a record in which %s has changed", (_, change, isNew) => {
    const { clock, table, since } = stage();
    table.set(waits);
    clock.advance(500);
    table.set({ ...waits, ...change });
    expect(since()).toBe(isNew ? 1_500 : 1_000);
  });

  test("SandboxTable.replaceAll keeps the time of what is as it was, in a namespace and in all", () => {
    for (const scope of ["ns", undefined]) {
      const { clock, table, since } = stage();
      table.replaceAll(scope, [waits, sandboxRecord({ name: "other", uid: "uid-2" })]);
      clock.advance(500);
      table.replaceAll(scope, [waits, sandboxRecord({ name: "other", uid: "uid-3" })]);
      expect([since(), since("other")]).toEqual([1_000, 1_500]);
    }
  });

  test("SandboxTable.set begins anew for a sandbox that was gone", () => {
    const { clock, table, since } = stage();
    table.set(waits);
    table.remove("ns", "sb");
    clock.advance(500);
    table.set(waits);
    expect(since()).toBe(1_500);
  });
});

test("SandboxTable agrees with a plain model after any sequence of operations", () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const random = createRandom(seed);
    const table = new SandboxTable();
    const model = new Map<string, SandboxRecord>();
    const live = new Map<string, string>();
    table.onGenerationEnd((record) => {
      expect(live.get(keyOf(record))).toBe(`${record.uid} ${record.endpoint}`);
    });
    const draw = () =>
      sandboxRecord({
        namespace: random.pick(["a", "b", "c"]),
        name: random.pick(["x", "y", "z"]),
        uid: `uid-${random.integer(3)}`,
        endpoint: random.pick(["10.0.0.1", "10.0.0.2", ""]),
        ready: random.integer(2) === 0,
      });
    const note = () => {
      live.clear();
      for (const [key, record] of model) live.set(key, `${record.uid} ${record.endpoint}`);
    };
    for (let step = 0; step < 60; step += 1) {
      const record = draw();
      const action = random.integer(5);
      if (action < 3) {
        table.set(record);
        model.set(keyOf(record), record);
      } else if (action === 3) {
        table.remove(record.namespace, record.name);
        model.delete(keyOf(record));
      } else {
        const scope = random.pick([undefined, "a", "b"]);
        const records = [draw(), draw(), draw()].filter((next) => scope === undefined || next.namespace === scope);
        table.replaceAll(scope, records);
        for (const [key, old] of model) if (scope === undefined || old.namespace === scope) model.delete(key);
        for (const next of records) model.set(keyOf(next), next);
      }
      note();
      const seen = new Map<string, SandboxRecord>();
      for (const found of table.records()) seen.set(keyOf(found), { ...found, sinceMs: undefined });
      expect(seen).toEqual(model);
      expect(["x", "y", "z"].filter((name) => table.isAmbiguous(name))).toEqual(
        ["x", "y", "z"].filter((name) => [...model.values()].filter((found) => found.name === name).length > 1),
      );
      const counts = { ready: 0, notReady: 0, ambiguous: 0 };
      for (const name of ["x", "y", "z"]) {
        const named = [...model.values()].filter((found) => found.name === name);
        const [only] = named;
        const resolution = table.lookup(name);
        if (only === undefined) expect(resolution.state).toBe("not-found");
        else if (named.length > 1) expect(resolution.state).toBe("ambiguous");
        else expect(resolution).toMatchObject({ state: "found", record: only });
        if (named.length > 1) counts.ambiguous += named.length;
        else if (only !== undefined) counts[only.ready ? "ready" : "notReady"] += 1;
      }
      expect(table.counts()).toEqual(counts);
    }
  }
});

test("SandboxTable.shareNamespace gives equal texts, and stays bounded", () => {
  const table = new SandboxTable();
  for (let i = 0; i < 25_000; i += 1) expect(table.shareNamespace(`namespace-${i}`)).toBe(`namespace-${i}`);
});
