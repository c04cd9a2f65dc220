import { describe, expect, test } from "bun:test";
import { classifyRedisFault, RedisFault, type RedisFaultCause } from "../../../src/renew/redis-fault.ts";

const systemError = (code: string) => Object.assign(new Error(`connect ${code} 127.0.0.1:1`), { code });

describe("classifyRedisFault names the cause of", () => {
  const cases: [error: unknown, reason: RedisFaultCause, code: string][] = [
    [systemError("ECONNREFUSED"), "refused", "ECONNREFUSED"],
    [systemError("ENOENT"), "refused", "ENOENT"],
    [systemError("EHOSTUNREACH"), "unreachable", "EHOSTUNREACH"],
    [systemError("ENOTFOUND"), "dns", "ENOTFOUND"],
    [systemError("ETIMEDOUT"), "timeout", "ETIMEDOUT"],
    [systemError("ECONNRESET"), "closed", "ECONNRESET"],
    [systemError("SELF_SIGNED_CERT_IN_CHAIN"), "tls", "SELF_SIGNED_CERT_IN_CHAIN"],
    [systemError("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), "tls", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
    [systemError("ERR_TLS_CERT_ALTNAME_INVALID"), "tls", "ERR_TLS_CERT_ALTNAME_INVALID"],
    [systemError("ESOMETHING"), "other", "ESOMETHING"],
    [new Error("NOAUTH Authentication required."), "auth", "NOAUTH"],
    [new Error("WRONGPASS invalid username-password pair or user is disabled."), "auth", "WRONGPASS"],
    [new Error("NOPERM this user has no permissions"), "forbidden", "NOPERM"],
    [new Error("READONLY You can't write against a read only replica."), "read-only", "READONLY"],
    [new Error("MISCONF Redis is configured to save RDB snapshots"), "read-only", "MISCONF"],
    [new Error("OOM command not allowed when used memory > 'maxmemory'."), "full", "OOM"],
    [new Error("LOADING Redis is loading the dataset in memory"), "loading", "LOADING"],
    [new Error("WRONGTYPE Operation against a key"), "wrong-type", "WRONGTYPE"],
    [new Error("ERR DB index is out of range"), "other", "ERR"],
    [new Error("no kind at all"), "other", ""],
    ["thrown text", "other", ""],
    [undefined, "other", ""],
  ];
  test.each(cases.map(([error, ...expected]) => [String(error), error, ...expected] as const))("%s", (...row) => {
    const [, error, reason, code] = row;
    const fault = classifyRedisFault(error);
    expect([fault.reason, fault.code]).toEqual([reason, code]);
  });
});

test("classifyRedisFault leaves out what Redis repeats of a command", () => {
  const reply = new Error("ERR unknown command 'AUTH', with args beginning with: 'hunter2'");
  expect(String(classifyRedisFault(reply))).not.toContain("hunter2");
  expect(String(classifyRedisFault(reply).stack)).not.toContain("hunter2");
});

test("classifyRedisFault returns a RedisFault unchanged", () => {
  const fault = new RedisFault("timeout", "");
  expect(classifyRedisFault(fault)).toBe(fault);
});
