import { describe, expect, test } from "bun:test";
import { projectBatchSandbox } from "../../../../src/sandbox/projection/batch-sandbox.ts";
import type { ProjectOptions } from "../../../../src/sandbox/projection/projection.ts";
import { endpointFor } from "../../../../src/sandbox/provider.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";
import { batchSandbox } from "../../../../scripts/lib/stage/sandbox-objects.ts";
import { recordOf, STRICT } from "../../../support/record-of.ts";

describe("projectBatchSandbox: endpoints", () => {
  test.each([
    ['["10.244.1.5"]', "10.244.1.5"],
    ['["","10.0.0.2"]', "10.0.0.2"],
    ['["10.0.0.1","10.0.0.2"]', "10.0.0.1"],
    [' [ "10.0.0.1" ] ', "10.0.0.1"],
    ['["fd00::7"]', "[fd00::7]"],
    ['["FD00:0::7"]', "[fd00::7]"],
    ['["::ffff:10.0.0.1"]', "10.0.0.1"],
    ['["10.0.0.1","127.0.0.1"]', "10.0.0.1"],
  ])("projectBatchSandbox takes %s as %s, ready", (endpoints, endpoint) => {
    const { record, warning } = projectBatchSandbox(batchSandbox({ endpoints }), STRICT);
    expect(record).toMatchObject({ endpoint, ports: undefined, ready: true, notReady: "" });
    expect(warning).toBeUndefined();
  });

  test.each([null, "", "null", "[]", '[""]', '["",""]', "{}", '{"80":""}'])(
    "projectBatchSandbox takes %j as no endpoint yet, without a warning",
    (endpoints) => {
      const { record, warning } = projectBatchSandbox(batchSandbox({ endpoints }), STRICT);
      expect(record).toMatchObject({
        endpoint: "",
        ready: false,
        notReady: "sandbox not ready: sandbox sb has no endpoint yet",
      });
      expect(warning).toBeUndefined();
    },
  );

  test.each([
    ["loopback", '["127.0.0.1"]'],
    ["loopback", '["::1"]'],
    ["loopback", '["::ffff:127.0.0.1"]'],
    ["link-local", '["169.254.169.254"]'],
    ["link-local", '["::ffff:a9fe:a9fe"]'],
    ["link-local", '["fe80::1"]'],
    ["reserved", '["100.100.100.200"]'],
    ["reserved", '["fd00:ec2::254"]'],
    ["reserved", '["64:ff9b::169.254.169.254"]'],
    ["unspecified", '["0.0.0.0"]'],
    ["unspecified", '["::"]'],
    ["multicast", '["224.0.0.1"]'],
    ["multicast", '["ff02::1"]'],
    ["not an IP address", '["127.1"]'],
    ["not an IP address", '["2130706433"]'],
    ["not an IP address", '["0x7f.1"]'],
    ["not an IP address", '["010.0.0.1"]'],
    ["not an IP address", '["10.0.0.1:80"]'],
    ["not an IP address", '["10.0.0.1/x"]'],
    ["not an IP address", '["[fd00::7]"]'],
    ["not an IP address", '["fe80::1%eth0"]'],
    ["not an IP address", '[" 10.0.0.1"]'],
    ["not an IP address", '["metadata.google.internal"]'],
    ["not an IP address", '[null,"10.0.0.1"]'],
    ["not an IP address", '[["10.0.0.1"]]'],
    ["not an IP address", "[10]"],
    ["not an IP address", '["bad","10.0.0.1"]'],
    ["is not JSON", "10.0.0.1"],
    ["is not JSON", '["10.0.0.1"'],
    ["neither an array nor a map", '"10.0.0.1"'],
    ["neither an array nor a map", "7"],
    ["longer than", `["${"1".repeat(70_000)}"]`],
    ["has the invalid port", '{"0":"10.0.0.1:80"}'],
    ["has the invalid port", '{"080":"10.0.0.1:80"}'],
    ["has the invalid port", '{"65536":"10.0.0.1:80"}'],
    ["has the invalid port", '{"__proto__":"10.0.0.1:80"}'],
    ["not an address with a port", '{"80":"10.0.0.1:0"}'],
    ["not an address with a port", '{"80":"10.0.0.1:"}'],
    ["not an address with a port", '{"80":"10.0.0.1:80/x"}'],
    ["not an address with a port", '{"80":"fd00::7:80"}'],
    ["not an address with a port", '{"80":"[10.0.0.1]:80"}'],
    ["not an address with a port", '{"80":"host:80"}'],
    ["not an address with a port", '{"80":"u@10.0.0.1:80"}'],
    ["not an address with a port", '{"80":8080}'],
    ["loopback", '{"80":"10.0.0.1:80","81":"127.0.0.1:81"}'],
    ["more than", JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [i + 1, "10.0.0.1:80"])))],
  ])("projectBatchSandbox refuses (%s) the endpoints %s", (reason, endpoints) => {
    const { record, warning } = projectBatchSandbox(batchSandbox({ endpoints }), STRICT);
    expect(record).toMatchObject({
      endpoint: "",
      ports: undefined,
      ready: false,
      notReady: "sandbox not ready: sandbox sb has no usable endpoint",
    });
    expect(warning).toContain(reason);
    expect(warning?.length).toBeLessThan(300);
  });

  test("projectBatchSandbox refuses an annotation that is not a string", () => {
    for (const endpoints of [7, ["10.0.0.1"], { "80": "10.0.0.1:80" }, true]) {
      expect(recordOf(batchSandbox({ endpoints })).ready).toBe(false);
    }
  });

  test("projectBatchSandbox reads the map form port by port, and a changed map changes the endpoint", () => {
    const record = recordOf(
      batchSandbox({ endpoints: '{"9090":"[fd00::7]:9191","8080":"10.0.1.5:8080","81":"10.0.1.5"}' }),
    );
    expect(record.ready).toBe(true);
    expect([81, 8080, 9090, 80].map((port) => endpointFor(record, port))).toEqual([
      "10.0.1.5:81",
      "10.0.1.5:8080",
      "[fd00::7]:9191",
      undefined,
    ]);
    const reordered = recordOf(
      batchSandbox({ endpoints: '{"81":"10.0.1.5","8080":"10.0.1.5:8080","9090":"[FD00::7]:9191"}' }),
    );
    expect(reordered.endpoint).toBe(record.endpoint);
    const changed = recordOf(batchSandbox({ endpoints: '{"81":"10.0.1.5","8080":"10.0.1.5:8081"}' }));
    expect(changed.endpoint).not.toBe(record.endpoint);
  });

  test("projectBatchSandbox admits loopback if allowed, but never the rest or an address of the ingress", () => {
    const endpoints = endpointRules({ allowLoopback: true, ownAddresses: () => new Set(["10.0.0.9"]) });
    const options: ProjectOptions = { endpoints };
    expect(recordOf(batchSandbox({ endpoints: '["127.0.0.2"]' }), options)).toMatchObject({
      endpoint: "127.0.0.2",
      ready: true,
    });
    expect(recordOf(batchSandbox({ endpoints: '["169.254.169.254"]' }), options).ready).toBe(false);
    expect(recordOf(batchSandbox({ endpoints: '["10.0.0.9"]' }), options).ready).toBe(false);
    expect(recordOf(batchSandbox({ endpoints: '{"80":"10.0.0.9:80"}' }), options).ready).toBe(false);
  });
});

describe("projectBatchSandbox: what a paused sandbox does", () => {
  const failed = [{ type: "ResumeFailed", status: "True" }];
  test.each([
    [{ phase: "Pausing" }, "asleep"],
    [{ phase: "Paused" }, "asleep"],
    [{ phase: "Resuming" }, "waking"],
    [{ phase: "Paused", conditions: failed }, "failed"],
    [{ phase: "Resuming", conditions: [{ type: "ResumeFailed", status: "False" }] }, "waking"],
    [{ phase: "Pending" }, undefined],
    [{ phase: "Failed" }, undefined],
    [{ phase: "Paused", ready: 1 }, undefined],
  ] as const)("projectBatchSandbox takes %j as %p", (status, sleep) => {
    expect(recordOf(batchSandbox({ status })).sleep).toBe(sleep);
  });
});

describe("projectBatchSandbox: readiness", () => {
  test.each([
    [undefined, { replicas: 2, ready: 0, phase: "Pending" }, "not ready (Pending: 0 of 2 replicas ready)"],
    [undefined, { replicas: 1, phase: "Succeed" }, "not ready (Pending: 0 of 1 replicas ready)"],
    [undefined, {}, "not ready (Pending: no replica ready)"],
    ["[]", { replicas: 0, ready: 0, phase: "Paused" }, "not ready (Paused: 0 of 0 replicas ready)"],
    [undefined, null, "missing status"],
    [undefined, "odd", "missing status"],
    [undefined, { ready: "1" }, "has an invalid status"],
    [undefined, { ready: 1.5 }, "has an invalid status"],
    [undefined, { ready: -1 }, "has an invalid status"],
    [undefined, { ready: [1] }, "has an invalid status"],
    [
      undefined,
      {
        conditions: [
          { type: "Ready" },
          7,
          { type: "PodFailed", status: "True", reason: "CrashLoop", message: "exit 1" },
        ],
      },
      "not ready (CrashLoop: exit 1)",
    ],
    [undefined, { conditions: [{ type: "Paused", status: "True" }] }, "not ready (Paused)"],
    [undefined, { conditions: { type: "Paused" }, phase: "Pausing" }, "not ready (Pausing: no replica ready)"],
  ])("projectBatchSandbox with endpoints %j says of status %j: %s", (endpoints, status, reason) => {
    const record = recordOf(batchSandbox({ endpoints, status }));
    expect(record).toMatchObject({ ready: false, notReady: `sandbox not ready: sandbox sb ${reason}` });
  });

  test("projectBatchSandbox keeps the endpoint while only the status says not ready", () => {
    expect(recordOf(batchSandbox({ status: { ready: 0 } })).endpoint).toBe("10.244.1.5");
  });

  test("projectBatchSandbox makes one short line of hostile texts", () => {
    const message = `a\r\nX-Evil: 1\u0000\u202e\u2028${"é".repeat(5_000)}\ud83d`;
    const { notReady } = recordOf(
      batchSandbox({
        status: { conditions: [{ type: "PodFailed", status: "True", reason: "R\n".repeat(200), message }] },
      }),
    );
    expect(notReady).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(notReady.isWellFormed()).toBe(true);
    expect(notReady.length).toBeLessThan(450);
    expect(notReady).toContain("a X-Evil: 1 é");
    const half = [{ type: "Paused", status: "True", reason: "Half\ud83d" }];
    expect(recordOf(batchSandbox({ status: { conditions: half } })).notReady).toContain("(Half\ufffd)");
  });
});
