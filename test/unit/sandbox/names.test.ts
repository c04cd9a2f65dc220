import { createHash } from "node:crypto";
import { describe, expect, test } from "bun:test";
import { resolveIn } from "../../../src/sandbox/look-up.ts";
import { sandboxNameCandidates } from "../../../src/sandbox/names.ts";
import { SandboxTable } from "../../../src/sandbox/table.ts";
import type { SandboxRecord } from "../../../src/sandbox/provider.ts";
import { sandboxRecord } from "../../../scripts/lib/stage/sandbox-objects.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const hash = (id: string) => createHash("sha256").update(id).digest("hex").slice(0, 8);
const uuid = "5f0c1a52-7a6d-4c3e-9d55-0a4f3c6f2b11";
const long = `a${"b".repeat(52)}-${"c".repeat(20)}`;

describe("sandboxNameCandidates", () => {
  test.each([
    ["alpha", ["alpha", "sandbox-alpha"]],
    ["sandbox-alpha", ["sandbox-alpha"]],
    ["1234", ["sandbox-1234", "1234"]],
    [uuid, [`sandbox-${uuid}`, uuid]],
    ["!!!", [`sandbox-${hash("!!!")}`, "!!!", "sandbox-!!!"]],
    ["", [`sandbox-${hash("")}`, "", "sandbox-"]],
    ["My__Sandbox", ["my-sandbox", "My__Sandbox", "sandbox-My__Sandbox"]],
    [" a--b- ", ["a-b", " a--b- ", "sandbox- a--b- "]],
    ["\u0130x", ["ix", "\u0130x", "sandbox-\u0130x"]],
    [long, [`a${"b".repeat(52)}-${hash(long)}`, long, `sandbox-${long}`]],
    [
      "9".repeat(60),
      [`sandbox-${"9".repeat(46)}-${hash("9".repeat(60))}`, "9".repeat(60), `sandbox-${"9".repeat(60)}`],
    ],
    ["x".repeat(300), [`${"x".repeat(54)}-${hash("x".repeat(300))}`]],
  ])("sandboxNameCandidates gives the names of %j in order", (id, expected) => {
    expect(sandboxNameCandidates(id)).toEqual(expected);
  });

  test("sandboxNameCandidates begins with a DNS-1035 label for any id", () => {
    const random = createRandom(7);
    for (let run = 0; run < 5_000; run += 1) {
      let id = "";
      for (let left = random.integer(90); left > 0; left -= 1) {
        id += random.pick(["a", "Z", "-", "-", "0", ".", "_", "é", "\u{1f600}", "\ud800", " ", "sandbox-"]);
      }
      const names = sandboxNameCandidates(id);
      expect(names[0]).toMatch(/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
      expect(new Set(names).size).toBe(names.length);
      expect(names.length).toBeLessThanOrEqual(3);
    }
  });
});

describe("resolveIn", () => {
  test("resolveIn uses only the id itself for a BatchSandbox", () => {
    const table = new SandboxTable();
    table.set(sandboxRecord({ name: "sandbox-1234" }));
    expect(resolveIn(table, "1234", "batchsandbox").state).toBe("not-found");
    expect(resolveIn(table, "sandbox-1234", "batchsandbox").state).toBe("found");
  });

  const foo = "foo";
  const digits = "1234";
  const caps = "My_Box";

  // Each subset of the candidates, each candidate in team-a, in team-b, or in both.
  test.each([foo, digits, caps])("resolveIn never crosses namespaces: every placement of the names of %s", (id) => {
    const names = sandboxNameCandidates(id);
    const placements = [[], ["team-a"], ["team-b"], ["team-a", "team-b"]] as const;
    for (let code = 0; code < placements.length ** names.length; code += 1) {
      const table = new SandboxTable();
      const placed = names.map((name, at) => {
        const namespaces = placements[Math.floor(code / placements.length ** at) % placements.length] ?? [];
        for (const namespace of namespaces) table.set(sandboxRecord({ namespace, name, uid: `${namespace}/${name}` }));
        return { name, namespaces };
      });
      const namespaces = new Set(placed.flatMap((place) => place.namespaces));
      const [namespace, other] = namespaces;
      const first = placed.find((place) => place.namespaces.length > 0)?.name;
      const resolution = resolveIn(table, id, "agent-sandbox");
      if (namespace === undefined) expect(resolution.state).toBe("not-found");
      else if (other !== undefined) expect(resolution.state).toBe("ambiguous");
      else expect(resolution).toMatchObject({ state: "found", record: { namespace, name: first } });
      expect(table.namesakes() > 0).toBe(other !== undefined);
    }
  });

  const adopted = (change: Partial<SandboxRecord>) => sandboxRecord({ name: "pool-x7k2p", claim: "mine", ...change });

  test("resolveIn finds an adopted Sandbox by its own name, and by its claim's", () => {
    const table = new SandboxTable();
    table.set(adopted({}));
    for (const id of ["pool-x7k2p", "mine"]) {
      expect(resolveIn(table, id, "agent-sandbox")).toMatchObject({ state: "found", record: { name: "pool-x7k2p" } });
    }
    expect(resolveIn(table, "mine", "batchsandbox").state).toBe("not-found");
  });

  test("resolveIn takes a name before a claim in one namespace, and neither across namespaces", () => {
    const table = new SandboxTable();
    table.set(adopted({}));
    table.set(sandboxRecord({ name: "sandbox-mine", uid: "own" }));
    expect(resolveIn(table, "mine", "agent-sandbox")).toMatchObject({ record: { name: "sandbox-mine" } });
    table.set(adopted({ namespace: "other", uid: "theirs" }));
    expect(resolveIn(table, "mine", "agent-sandbox").state).toBe("ambiguous");
    expect(table.namesakes()).toBeGreaterThan(0);
    table.remove("ns", "sandbox-mine");
    expect(resolveIn(table, "mine", "agent-sandbox").state).toBe("ambiguous");
    table.remove("other", "pool-x7k2p");
    expect(resolveIn(table, "mine", "agent-sandbox").state).toBe("found");
  });

  test("resolveIn takes none of two that one claim adopted", () => {
    const table = new SandboxTable();
    table.set(adopted({}));
    table.set(adopted({ name: "pool-other", uid: "other" }));
    expect(resolveIn(table, "mine", "agent-sandbox").state).toBe("ambiguous");
    expect(resolveIn(table, "pool-other", "agent-sandbox").state).toBe("found");
  });

  test("resolveIn follows a claim through changes, removals and new lists", () => {
    const table = new SandboxTable();
    const stateOf = (id: string) => resolveIn(table, id, "agent-sandbox").state;
    table.set(adopted({}));
    table.set(adopted({ claim: "yours" }));
    expect([stateOf("mine"), stateOf("yours")]).toEqual(["not-found", "found"]);
    table.replaceAll("ns", [adopted({})]);
    expect([stateOf("mine"), stateOf("yours")]).toEqual(["found", "not-found"]);
    table.replaceAll(undefined, [adopted({ claim: undefined })]);
    expect([stateOf("mine"), stateOf("pool-x7k2p")]).toEqual(["not-found", "found"]);
    table.set(adopted({}));
    table.remove("ns", "pool-x7k2p");
    expect([stateOf("mine"), stateOf("pool-x7k2p")]).toEqual(["not-found", "not-found"]);
  });
});
