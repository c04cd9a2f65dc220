import { expect, test } from "bun:test";
import { planRestart, RESTART_MARKER } from "../../../src/process/runtime-settings.ts";

const HEAD = { maxHeaderBytes: 65_536 };
const first = { ...HEAD, isRestarted: false };
const second = { ...HEAD, isRestarted: true };

function environmentAfter(env: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const plan = planRestart(env, first);
  if (plan.kind !== "restart") throw new Error(`expected a restart, not ${plan.kind}`);
  const { [RESTART_MARKER]: marker, ...rest } = plan.env;
  expect(marker).toBe("1");
  return rest;
}

test("planRestart asks for one restart, after which no variable is missing", () => {
  const env = environmentAfter({ PATH: "/bin", HOME: "/" });
  expect(env).toMatchObject({ PATH: "/bin", HOME: "/", BUN_OPTIONS: "--max-http-header-size=65536" });
  expect(planRestart(env, second)).toEqual({ kind: "continue" });
  expect(planRestart(env, first)).toEqual({ kind: "continue" });
});

test("planRestart never asks for a second restart, and names the missing variables", () => {
  const { BUN_OPTIONS: _consumed, ...env } = environmentAfter({});
  expect(_consumed).toBeDefined();
  expect(planRestart(env, second)).toEqual({ kind: "incomplete", names: ["BUN_OPTIONS"] });
  expect(planRestart({}, second).kind).toBe("incomplete");
});

test.each([
  "BUN_CONFIG_VERBOSE_FETCH",
  "BUN_INSPECT",
  "BUN_INSPECT_CONNECT_TO",
  "BUN_DEBUG_ALL",
  "BUN_JSC_dumpOptions",
  "BUN_BE_BUN",
  "BUN_WHATEVER_COMES_NEXT",
  "NODE_OPTIONS",
  "NODE_DEBUG",
  "NODE_TLS_REJECT_UNAUTHORIZED",
  "NODE_V8_COVERAGE",
  "MIMALLOC_VERBOSE",
  "mimalloc_show_stats",
  "DEBUG",
  "SSLKEYLOGFILE",
])("planRestart takes %s out, also where all settings are there", (name) => {
  const env = environmentAfter({ A: "b" });
  expect(environmentAfter({ ...env, [name]: "1" })).toEqual(env);
});

test("planRestart replaces the runtime's options, and keeps the operator's variables", () => {
  const kept = {
    NODE_EXTRA_CA_CERTS: "/ca",
    MIMALLOC_PURGE_DELAY: "10",
    DEBUGGER: "x",
    KUBECONFIG: "k",
    HTTP_PROXY: "p",
  };
  expect(environmentAfter({ ...kept, BUN_OPTIONS: "--preload=/evil.ts" })).toMatchObject({
    ...kept,
    BUN_OPTIONS: "--max-http-header-size=65536",
  });
});
