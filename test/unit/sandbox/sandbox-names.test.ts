import { createHash } from "node:crypto";
import { describe, expect, test } from "bun:test";
import { resolveIn } from "../../../src/sandbox/resolve-in.ts";
import { sandboxNameCandidates } from "../../../src/sandbox/sandbox-names.ts";
import { createSandboxTable } from "../../../src/sandbox/sandbox-table.ts";
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

  test("sandboxNameCandidates begins with a DNS-1035 label whatever the id is", () => {
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
  test("resolveIn takes the id itself for a BatchSandbox, and no other name", () => {
    const table = createSandboxTable();
    table.set(sandboxRecord({ name: "sandbox-1234" }));
    expect(resolveIn(table, "1234", "batchsandbox").state).toBe("not-found");
    expect(resolveIn(table, "sandbox-1234", "batchsandbox").state).toBe("found");
  });

  test("resolveIn passes over an ambiguous name when a later one is clear, and says ambiguous only when none is", () => {
    const table = createSandboxTable();
    table.set(sandboxRecord({ namespace: "a", name: "sandbox-1234", uid: "1" }));
    expect(resolveIn(table, "1234", "agent-sandbox").state).toBe("found");
    table.set(sandboxRecord({ namespace: "b", name: "sandbox-1234", uid: "2" }));
    expect(resolveIn(table, "1234", "agent-sandbox").state).toBe("ambiguous");
    const own = sandboxRecord({ namespace: "a", name: "1234", uid: "3" });
    table.set(own);
    expect(resolveIn(table, "1234", "agent-sandbox")).toEqual({ state: "found", record: own });
    expect(resolveIn(table, "nobody", "agent-sandbox").state).toBe("not-found");
  });
});
