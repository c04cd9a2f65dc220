import { describe, expect, test } from "bun:test";
import { parseConfig } from "../../../src/config/parse-config.ts";
import { judgeClock } from "../../../src/doctor/api-server.ts";
import type { FindingState } from "../../../src/doctor/finding.ts";
import { checkIpv6, checkPort, type PortSeams, systemPorts } from "../../../src/doctor/ports.ts";
import { checkDescriptors, checkMemory } from "../../../src/doctor/resources.ts";
import { expectFinding } from "../../support/finding.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();

function configOf(...flags: readonly string[]) {
  const parsed = parseConfig(["--namespace=ns", ...flags], {});
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  return parsed.config;
}

/** A system that answers attempts to listen by address, and `GET /` with a text. */
function system(codes: Readonly<Record<string, string>>, start = ""): PortSeams {
  return { tryListen: (host) => Promise.resolve(codes[host] ?? ""), readStart: () => Promise.resolve(start) };
}

describe("checkPort", () => {
  const rows: [name: string, flags: string[], ports: PortSeams, state: FindingState, text: string][] = [
    ["a free port", [], system({}), "ok", "[::]:28888 is free"],
    ["any port", ["--port=0"], system({}), "ok", "any free port"],
    ["an ingress on it", [], system({ "::": "EADDRINUSE" }, "OpenSandbox Ingress: x"), "ok", "an ingress listens"],
    ["a stranger on it", [], system({ "::": "EADDRINUSE" }, "nginx"), "fail", "another program listens"],
    ["a silent stranger on it", [], system({ "::": "EADDRINUSE" }), "fail", "another program listens"],
    ["a low port", ["--port=80"], system({ "::": "EACCES" }), "fail", "NET_BIND_SERVICE"],
    ["no IPv6, by default", [], system({ "::": "EAFNOSUPPORT" }), "ok", "0.0.0.0:28888 is free"],
    ["no IPv6, but asked for", ["--host=::"], system({ "::": "EAFNOSUPPORT" }), "fail", "--host"],
    ["another machine's address", ["--host=192.0.2.1"], system({ "192.0.2.1": "EADDRNOTAVAIL" }), "fail", "--host"],
  ];
  test.each(rows)("checkPort judges %s", async (_name, flags, ports, state, text) => {
    const finding = await checkPort("port", configOf(...flags), { ports, signal });
    expect(finding.state).toBe(state);
    expect(JSON.stringify(finding)).toContain(text);
  });

  test("checkPort skips an admin port that is off", async () => {
    const finding = await checkPort("admin-port", configOf("--admin-port=0"), { ports: system({}), signal });
    expect(finding.state).toBe("skip");
  });

  test("checkPort tells a real ingress's page, a real stranger and a free port apart", async () => {
    const judge = async (port: number) =>
      (await checkPort("port", configOf("--host=127.0.0.1", `--port=${port}`), { ports: systemPorts, signal })).state;
    const serve = (text: string) => Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response(text) });
    using own = serve("OpenSandbox Ingress\n");
    using stranger = serve("x".repeat(1_000_000));
    expect(await judge(Number(own.port))).toBe("ok");
    expect(await judge(Number(stranger.port))).toBe("fail");
    const port = Number(own.port);
    await own.stop(true);
    expect(await judge(port)).toBe("ok");
  });
});

describe("checkIpv6", () => {
  test("checkIpv6 warns where the kernel has none, and says where only this machine is reached", async () => {
    expect((await checkIpv6(system({ "::1": "EADDRNOTAVAIL" }), [])).state).toBe("warn");
    expectFinding(await checkIpv6(system({}), ["10.0.0.1", "fe80::1"]), "ok", "this machine only");
    for (const address of ["2001:db8::1", "fd00::1"]) {
      expect(await checkIpv6(system({}), [address])).toMatchObject({ state: "ok", detail: "available" });
    }
  });
});

describe("checkMemory", () => {
  const judge = (limitMib: number, ...flags: readonly string[]) =>
    checkMemory(configOf(...flags), { bytes: limitMib * MIB, source: "container" });
  test("checkMemory compares the limit with what the flags allow", () => {
    expect(judge(512).state).toBe("ok");
    expectFinding(judge(100), "fail", "--memory-budget");
    expect(judge(512, "--memory-budget=500MiB").state).toBe("fail");
    expect(judge(512, "--memory-budget=100MiB", "--websocket-max-message=64MiB").state).toBe("warn");
  });
});

describe("checkDescriptors", () => {
  test("checkDescriptors compares the limit with --max-requests, and its remedies work", () => {
    expect(checkDescriptors(configOf(), 1_048_576).state).toBe("ok");
    expect(checkDescriptors(configOf(), undefined).state).toBe("skip");
    expect(checkDescriptors(configOf("--max-requests=0"), 1_024).state).toBe("ok");
    const finding = checkDescriptors(configOf(), 1_024);
    expect(finding.state).toBe("fail");
    const [, limit, requests] = /\bto (\d+), or set --max-requests=(\d+)/.exec(finding.remedy ?? "") ?? [];
    expect(checkDescriptors(configOf(), Number(limit)).state).toBe("ok");
    expect(checkDescriptors(configOf(), Number(limit) - 2).state).toBe("fail");
    expect(checkDescriptors(configOf(`--max-requests=${requests}`), 1_024).state).toBe("ok");
  });
});

describe("judgeClock", () => {
  const DATE = "Thu, 26 Nov 2026 12:00:00 GMT";
  const at = (offsetMs: number) => {
    const sentAtMs = Date.parse(DATE) + offsetMs;
    return judgeClock(DATE, { sentAtMs, receivedAtMs: sentAtMs + 100 });
  };
  test.each([
    [0, "ok"],
    [999, "ok"],
    [5_900, "ok"],
    [-5_000, "ok"],
    [6_001, "fail"],
    [-5_101, "fail"],
    [86_400_000, "fail"],
  ] as const)("judgeClock takes a clock that is %i ms off for %s", (offsetMs, state) => {
    expect(at(offsetMs).state).toBe(state);
  });

  test("judgeClock says which side is ahead", () => {
    expect(at(60_000).detail).toContain("59 s ahead of the API server's");
    expect(at(-60_000).detail).toContain("59 s behind the API server's");
  });

  test("judgeClock does not count a slow answer as a difference", () => {
    const sentAtMs = Date.parse(DATE) - 9_000;
    expect(judgeClock(DATE, { sentAtMs, receivedAtMs: sentAtMs + 10_000 }).state).toBe("ok");
  });

  test.each([null, "", "yesterday"])("judgeClock warns of the date %p", (date) => {
    expect(judgeClock(date, { sentAtMs: 0, receivedAtMs: 0 }).state).toBe("warn");
  });
});
