import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../src/clock.ts";
import { checkCredentials } from "../../../src/doctor/credentials.ts";
import type { FindingState } from "../../../src/doctor/finding.ts";
import { checkAdminToken, checkKeys } from "../../../src/doctor/secrets.ts";
import { expectFinding } from "../../support/finding.ts";
import { tempDir } from "../../support/temp-dir.ts";

let dir: ReturnType<typeof tempDir>;
beforeAll(() => {
  dir = tempDir();
});
afterAll(() => dir[Symbol.dispose]());

function write(name: string, text: string): string {
  const path = join(dir.path, name);
  writeFileSync(path, text);
  return path;
}

const GOOD = Buffer.from(Array.from({ length: 32 }, (_, at) => (at * 37 + 11) % 256)).toString("base64");
const SHORT = Buffer.from("hunter2").toString("base64");
const POOR = Buffer.alloc(32, 7).toString("base64");

describe("checkKeys", () => {
  const rows: [name: string, keys: string | undefined, state: FindingState, text: string][] = [
    ["no keys", undefined, "skip", "not configured"],
    ["good keys", `a=${GOOD},b=${GOOD}`, "ok", "a, b"],
    ["a short key", `a=${GOOD},b=${SHORT}`, "fail", "shorter than 16 bytes, so signed links give them away: b"],
    ["a key that is not random", `a=${POOR}`, "fail", "not random: a"],
    ["a broken file", "a=hunter2!", "fail", "base64"],
  ];
  test.each(rows)(
    "checkKeys judges %s, inline and in a file, and shows no part of a key",
    async (_name, keys, state, text) => {
      const file = keys === undefined ? undefined : write("keys", keys.replaceAll(",", "\n"));
      for (const config of [
        { secureAccessKeys: keys, secureAccessKeysFile: undefined },
        { secureAccessKeys: undefined, secureAccessKeysFile: file },
      ]) {
        const finding = await checkKeys(config, systemClock);
        expect(finding.state).toBe(state);
        expect(finding.detail).toContain(text);
        for (const secret of [GOOD, SHORT, POOR, "hunter2"]) expect(JSON.stringify(finding)).not.toContain(secret);
      }
    },
  );

  test("checkKeys says that a file is missing", async () => {
    const config = { secureAccessKeys: undefined, secureAccessKeysFile: join(dir.path, "missing") };
    expect(await checkKeys(config, systemClock)).toMatchObject({ state: "fail" });
  });
});

describe("checkAdminToken", () => {
  test("checkAdminToken takes a long token, and refuses a short one without showing it", async () => {
    expect((await checkAdminToken({ adminTokenFile: undefined }, systemClock)).state).toBe("skip");
    expect((await checkAdminToken({ adminTokenFile: write("token", GOOD) }, systemClock)).state).toBe("ok");
    const finding = await checkAdminToken({ adminTokenFile: write("token", "hunter2") }, systemClock);
    expect(finding.state).toBe("fail");
    expect(JSON.stringify(finding)).not.toContain("hunter2");
  });
});

describe("checkCredentials", () => {
  const NOW_MS = Date.UTC(2026, 10, 26);
  const clock = { ...systemClock, now: () => NOW_MS };
  const tokenUntil = (ms: number) => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    return `${part({ alg: "none" })}.${part({ exp: ms / 1000 })}.hunter2`;
  };
  const DAY_MS = 86_400_000;
  const rows: [name: string, user: Readonly<Record<string, unknown>>, state: FindingState, text: string][] = [
    ["a token without an end", { token: "hunter2" }, "ok", "token for https://api.test:6443"],
    ["a token for a month", { token: tokenUntil(NOW_MS + 30 * DAY_MS) }, "ok", "ends 2026-12-26T00:00:00Z"],
    ["a token for a day", { token: tokenUntil(NOW_MS + DAY_MS) }, "warn", "nothing renews it"],
    ["a token that has ended", { token: tokenUntil(NOW_MS - DAY_MS) }, "fail", "ended 2026-11-25T00:00:00Z"],
    ["a name and a password", { username: "jo", password: "hunter2" }, "ok", "user name and password"],
    ["nothing", {}, "warn", "requests are anonymous"],
    ["a token file that is missing", { tokenFile: "missing" }, "fail", "cannot read"],
  ];
  test.each(rows)("checkCredentials judges %s, and shows no secret", async (_name, user, state, text) => {
    const kubeconfig = write(
      "kubeconfig",
      JSON.stringify({
        clusters: [{ name: "c", cluster: { server: "https://jo:hunter2@api.test:6443/" } }],
        users: [{ name: "u", user }],
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        "current-context": "x",
      }),
    );
    const finding = await checkCredentials({ kubeconfig, environment: {} }, clock);
    expectFinding(finding, state, text);
    expect(JSON.stringify(finding)).not.toContain("hunter2");
  });

  test("checkCredentials takes a short token for good that a file renews", async () => {
    write("token", tokenUntil(NOW_MS + 3_600_000));
    const kubeconfig = write(
      "kubeconfig",
      JSON.stringify({
        clusters: [{ name: "c", cluster: { server: "https://api.test" } }],
        users: [{ name: "u", user: { tokenFile: "token" } }],
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        "current-context": "x",
      }),
    );
    const finding = await checkCredentials({ kubeconfig, environment: {} }, clock);
    expectFinding(finding, "ok", "token file for https://api.test");
  });

  test("checkCredentials says where it looked if there are none", async () => {
    const finding = await checkCredentials({ kubeconfig: undefined, environment: {} }, clock);
    expectFinding(finding, "fail", "KUBECONFIG");
  });
});
