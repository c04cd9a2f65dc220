import { describe, expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import type { LoggerOptions } from "../../../src/log/logger.ts";
import type { AccessLogMode } from "../../../src/proxy/report/access-log.ts";
import { createLoggerWithAccess } from "../../support/logger-with-access.ts";
import type { AccessEntry } from "../../../src/proxy/report/access-log.ts";
import { REFUSAL_KINDS_MAX } from "../../../src/proxy/report/refusal-sums.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const NOW_MS = Date.UTC(2026, 5, 15, 1, 2, 3, 45);
const ENTRY: AccessEntry = {
  method: "GET",
  form: "header",
  sandboxId: "alpha",
  port: 8080,
  status: 200,
  bytesOut: 12,
  durationMs: 1.23456,
  upstreamMs: 1,
  requestId: "r-1",
  clientAddress: "10.0.0.1",
};

function collect(options: Partial<LoggerOptions & { readonly accessLog: AccessLogMode }> = {}) {
  let written = "";
  const logger = createLoggerWithAccess({
    level: "info",
    format: "text",
    accessLog: "errors",
    clock: { ...systemClock, now: () => NOW_MS },
    write: (chunk) => {
      written += chunk;
      return Promise.resolve();
    },
    ...options,
  });
  const lines = async () => {
    await logger.flush();
    return written.split("\n").slice(0, -1);
  };
  return { logger, lines };
}

test("createLogger writes a text line with time, level, message and fields", async () => {
  const { logger, lines } = collect();
  logger.info("listening", { host: "::", port: 28888, ready: true, nothing: undefined });
  logger.warn("a b", { text: "a b", quote: '"', equals: "a=b", empty: "" });
  expect(await lines()).toEqual([
    "2026-06-15T01:02:03.045Z INFO  listening host=:: port=28888 ready=true",
    String.raw`2026-06-15T01:02:03.045Z WARN  a b text="a b" quote="\"" equals="a=b" empty=""`,
  ]);
});

test("createLogger writes a JSON line with time, level, msg and fields, which cannot replace the first three", async () => {
  const { logger, lines } = collect({ format: "json" });
  logger.error("failed", { cause: 'x"\n', count: 2, level: "info", time: "never" });
  expect((await lines()).map((line): unknown => JSON.parse(line))).toEqual([
    { time: "2026-06-15T01:02:03.045Z", level: "error", msg: "failed", cause: 'x"\n', count: 2 },
  ]);
});

test.each([
  ["debug", ["debug", "info", "warn", "error"]],
  ["info", ["info", "warn", "error"]],
  ["warn", ["warn", "error"]],
  ["error", ["error"]],
] as const)("createLogger with level %s writes %j", async (level, expected) => {
  const { logger, lines } = collect({ level, format: "json" });
  for (const each of ["debug", "info", "warn", "error"] as const) logger[each](each);
  expect((await lines()).map((line) => line.slice(line.indexOf('"msg":') + 7, -2))).toEqual([...expected]);
});

test("createLogger writes equal lines as often as they are logged", async () => {
  const { logger, lines } = collect();
  for (let count = 0; count < 50; count += 1) logger.info("same");
  expect(await lines()).toHaveLength(50);
});

describe.each(["text", "json"] as const)("createLogger with format %s", (format) => {
  test("keeps one line one line, for any text from outside", async () => {
    const random = createRandom(11);
    const alphabet = '\n\r\t\0\u001b[31m\u007f\u0085\u009b\u2028\u2029\u202e\u2066 ="\\aä😀{}:,';
    const { logger, lines } = collect({ format });
    for (let round = 0; round < 500; round += 1) {
      logger.info(random.text(alphabet, 12), { a: random.text(alphabet, 12), b: random.text(alphabet, 3) });
    }
    const written = await lines();
    expect(written).toHaveLength(500);
    for (const line of written) {
      // oxlint-disable-next-line no-control-regex -- control characters are what this is about
      expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202e\u2066]/);
      if (format === "json") expect(() => void JSON.parse(line)).not.toThrow();
    }
  });

  test("cuts long texts", async () => {
    const { logger, lines } = collect({ format });
    logger.info("m".repeat(100_000), { value: "v".repeat(100_000) });
    expect((await lines())[0]?.length).toBeLessThan(6_000);
  });
});

describe("AccessLogger", () => {
  test("writes method, form, sandbox, port, status, times, bytes, request and client", async () => {
    const { logger, lines } = collect({ accessLog: "all", level: "error" });
    logger.accessLog.log(ENTRY);
    expect(await lines()).toEqual([
      "2026-06-15T01:02:03.045Z INFO  request method=GET form=header sandbox=alpha port=8080 status=200 " +
        "bytesOut=12 durationMs=1.235 upstreamMs=1 requestId=r-1 client=10.0.0.1",
    ]);
  });

  const refused = { ...ENTRY, status: 404, code: "sandbox_not_found" } as const;
  const failed = { ...ENTRY, status: 500 } as const;
  const left = { ...ENTRY, status: 499, code: "client_closed" } as const;
  const notFoundBySandbox = { ...ENTRY, status: 404 } as const;

  test.each<[AccessLogMode, readonly AccessEntry[]]>([
    ["off", []],
    ["errors", [refused, failed]],
    ["all", [ENTRY, refused, failed, left, notFoundBySandbox]],
  ])("with mode %s writes %j", async (accessLog, expected) => {
    const { logger, lines } = collect({ accessLog });
    const all = [ENTRY, refused, failed, left, notFoundBySandbox];
    for (const entry of all) logger.accessLog.log(entry);
    expect(await lines()).toHaveLength(expected.length);
    expect(all.filter(({ status, code }) => logger.accessLog.wants(status, code))).toEqual([...expected]);
  });

  const refusedAt = (sandboxId: string, requestId = "r-1") => ({ ...refused, sandboxId, requestId });
  const KEYS = ["sandbox", "requestId", "repeated", "msg", "code", "status"] as const;
  const summed = () => {
    const clock = createFakeClock(NOW_MS);
    const { logger, lines } = collect({ accessLog: "errors", format: "json", clock });
    const entries = async () =>
      (await lines()).map((line) => {
        const parsed: unknown = JSON.parse(line);
        const fields = new Map(Object.entries(typeof parsed === "object" && parsed !== null ? parsed : {}));
        const [sandbox, requestId, repeated, msg, code, status] = KEYS.map((key): unknown => fields.get(key));
        return { sandbox, requestId, repeated, msg, code, status };
      });
    return { clock, logger, entries };
  };

  test("writes the first of equal refusals at once, and those of each second after it in one line with their number", async () => {
    const { clock, logger, entries } = summed();
    for (let request = 1; request <= 25; request += 1) {
      logger.accessLog.log(refusedAt("alpha", `r-${request}`));
      clock.advance(100);
    }
    expect((await entries()).map(({ requestId, repeated }) => [requestId, repeated])).toEqual([
      ["r-1", undefined],
      ["r-10", 9],
      ["r-20", 10],
      // What the flush finds, as a stop does.
      ["r-25", 5],
    ]);
  });

  test("writes a refusal at once again when a second has passed without an equal one", async () => {
    const { clock, logger, entries } = summed();
    for (const requestId of ["r-1", "r-2", "r-3"]) {
      logger.accessLog.log(refusedAt("alpha", requestId));
      clock.advance(1_001);
    }
    expect(await entries()).toMatchObject([{ requestId: "r-1" }, { requestId: "r-2" }, { requestId: "r-3" }]);
    clock.advance(10_000);
    expect(await entries()).toHaveLength(3);
  });

  test("sums answers of 500 and above like refusals, separately for each sandbox, code and status", async () => {
    const { logger, entries } = summed();
    const kinds = [refusedAt("a"), refusedAt("b"), { ...refusedAt("a"), code: "sandbox_ambiguous" } as const];
    const failures = [failed, { ...failed, status: 503 }];
    for (const entry of [...kinds, ...failures]) for (let times = 0; times < 4; times += 1) logger.accessLog.log(entry);
    const written = await entries();
    expect(written.map(({ repeated }) => repeated)).toEqual([...Array.from({ length: 5 }), 3, 3, 3, 3, 3]);
  });

  test("writes a bounded number of lines for any requested ids, and counts every refusal", async () => {
    const { clock, logger, entries } = summed();
    for (let request = 0; request < 5_000; request += 1) {
      logger.accessLog.log(request % 2 === 0 ? refusedAt(`s-${request}`) : { ...failed, sandboxId: `s-${request}` });
    }
    clock.advance(1_000);
    const written = await entries();
    expect(written).toHaveLength(REFUSAL_KINDS_MAX + 2);
    expect(written.slice(-2)).toMatchObject([
      { msg: "requests of further sandboxes", status: 404, code: "sandbox_not_found", repeated: 2_450 },
      { msg: "requests of further sandboxes", status: 500, code: undefined, repeated: 2_450 },
    ]);
    // The next second has room again.
    logger.accessLog.log(refusedAt("late"));
    expect((await entries()).at(-1)).toMatchObject({ sandbox: "late", repeated: undefined });
  });

  test("with mode all writes every request", async () => {
    const { logger, lines } = collect({ accessLog: "all" });
    for (let request = 0; request < 50; request += 1) logger.accessLog.log(refusedAt("alpha"));
    expect(await lines()).toHaveLength(50);
  });
});
