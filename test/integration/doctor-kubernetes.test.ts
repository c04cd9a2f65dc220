import { afterEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { CHECK_MAX_MS, type Finding } from "../../src/doctor/finding.ts";
import { checkKubernetes } from "../../src/doctor/kubernetes.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { createFakeClock } from "../../scripts/lib/stage/fake-clock.ts";
import { expectFinding } from "../support/finding.ts";
import { tempDir } from "../support/temp-dir.ts";

const TOKEN = "token-of-hunter2";
/** What the doctor asks of an API server, in a few words. */
type Asked = "version" | "group" | "review";
type Answer = (request: Request) => Response | Promise<Response>;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

const json = (value: unknown, init: ResponseInit = {}) => Response.json(value, init);
const GOOD: Readonly<Record<Asked, Answer>> = {
  version: () => json({ gitVersion: "v1.99.0" }),
  group: () => json({ resources: [{ name: "batchsandboxes" }] }),
  review: () => json({ status: { allowed: true } }),
};

/** Examines an API server that answers in the test's way. */
function examine(answers: Partial<Record<Asked, Answer>>, options: { clock?: Clock; namespaces?: string[] } = {}) {
  const dir = tempDir();
  const requests: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      const { pathname } = new URL(request.url);
      requests.push(`${request.method} ${pathname}`);
      const asked = pathname === "/version" ? "version" : pathname.includes("selfsubject") ? "review" : "group";
      return await { ...GOOD, ...answers }[asked](request);
    },
  });
  cleanUps.push(
    () => server.stop(true),
    () => dir[Symbol.dispose](),
  );
  const kubeconfig = join(dir.path, "kubeconfig");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${server.port}` } }],
      users: [{ name: "u", user: { token: TOKEN } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  const config = {
    providerType: "batchsandbox" as const,
    namespaces: options.namespaces ?? ["ns"],
    allNamespaces: false,
    kubeconfig,
  };
  const findings = checkKubernetes({
    config,
    clock: options.clock ?? systemClock,
    environment: {},
    userAgent: "test",
  }).then((all) => {
    expect(JSON.stringify(all)).not.toContain(TOKEN);
    return new Map(all.map((finding) => [finding.name, finding]));
  });
  return { requests, findings };
}

function get(findings: ReadonlyMap<string, Finding>, name: string): Finding {
  const finding = findings.get(name);
  if (finding === undefined) throw new Error(`no finding ${name} among ${[...findings.keys()].join(", ")}`);
  return finding;
}

describe("checkKubernetes", () => {
  test("checkKubernetes asks for each verb in each namespace", async () => {
    const bodies: unknown[] = [];
    const namespaces = Array.from({ length: 5 }, (_, at) => `ns-${at}`);
    const { findings } = examine(
      {
        review: async (request) => {
          bodies.push(await request.json());
          return json({ status: { allowed: true } });
        },
      },
      { namespaces },
    );
    expect([...(await findings).values()].filter(({ state }) => state !== "ok")).toEqual([]);
    expect(bodies).toHaveLength(15);
    expect(bodies).toContainEqual({
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: {
        resourceAttributes: {
          verb: "watch",
          group: "sandbox.opensandbox.io",
          resource: "batchsandboxes",
          namespace: "ns-3",
        },
      },
    });
  });

  test("checkKubernetes ends checks of a server that never answers, and skips what depends on them", async () => {
    const clock = createFakeClock();
    const { requests, findings } = examine({ version: () => new Promise(() => {}) }, { clock });
    await eventually(() => requests.length === 1);
    clock.advance(CHECK_MAX_MS);
    const found = await findings;
    expectFinding(get(found, "api-server"), "fail", "no result within 10 s");
    for (const name of ["clock", "kinds", "permission watch (ns)"]) expect(get(found, name).state).toBe("skip");
    expect(requests).toEqual(["GET /version"]);
  });

  test("checkKubernetes ends a permission that is never answered", async () => {
    const clock = createFakeClock();
    let hung = 0;
    const { findings } = examine({ review: () => new Promise(() => void (hung += 1)) }, { clock });
    await eventually(() => hung === 3);
    clock.advance(CHECK_MAX_MS);
    const found = await findings;
    expectFinding(get(found, "permission list (ns)"), "fail", "no result within 10 s");
  });

  const rows: [
    name: string,
    answers: Partial<Record<Asked, Answer>>,
    at: string,
    state: Finding["state"],
    text: string,
  ][] = [
    ["a page of a load balancer", { version: () => new Response("<html>") }, "api-server", "fail", "not a JSON object"],
    ["a list for an answer", { version: () => json([]) }, "api-server", "fail", "not a JSON object"],
    ["401", { version: () => json({ message: "no" }, { status: 401 }) }, "api-server", "fail", "--kubeconfig"],
    ["500", { version: () => json({ message: "no" }, { status: 500 }) }, "api-server", "fail", "500 no"],
    ["a redirect", { version: () => Response.redirect("http://127.0.0.1:1/") }, "api-server", "fail", "302"],
    ["an endless answer", { version: () => endless() }, "api-server", "fail", "the answer is over 1048576 bytes"],
    [
      "a clock that is wrong",
      { version: () => json({}, { headers: { Date: "Thu, 01 Jan 1970 00:00:00 GMT" } }) },
      "clock",
      "fail",
      "NTP",
    ],
    [
      "a group that is not served",
      { group: () => json({}, { status: 404 }) },
      "kinds",
      "fail",
      "CustomResourceDefinition",
    ],
    ["a group without the kind", { group: () => json({ resources: [{ name: "x" }] }) }, "kinds", "fail", "not served"],
    ["resources that are no list", { group: () => json({ resources: "x" }) }, "kinds", "fail", "not served"],
    ["a group that fails", { group: () => json({}, { status: 503 }) }, "kinds", "fail", "503"],
    [
      "a denied permission",
      { review: () => json({ status: { allowed: false } }) },
      "permission get (ns)",
      "fail",
      "Role",
    ],
    ["a review without a status", { review: () => json({}) }, "permission get (ns)", "fail", "permission denied"],
    ["no right to ask", { review: () => json({}, { status: 403 }) }, "permission get (ns)", "warn", "basic-user"],
  ];
  test.each(rows)("checkKubernetes judges %s", async (_name, answers, at, state, text) => {
    expectFinding(get(await examine(answers).findings, at), state, text);
  });
});

/** An answer without an end. */
function endless(): Response {
  const chunk = new Uint8Array(64 * 1024).fill(32);
  return new Response(
    new ReadableStream({
      pull(controller) {
        controller.enqueue(chunk);
      },
    }),
  );
}
