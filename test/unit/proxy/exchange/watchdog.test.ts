import { describe, expect, test } from "bun:test";

import type { IngressErrorCode } from "../../../../src/errors.ts";
import { BodyFlow } from "../../../../src/proxy/exchange/body-flow.ts";
import type { Exchange } from "../../../../src/proxy/exchange/exchange.ts";
import { type ConnectionState, type TimeLimits, Watchdog } from "../../../../src/proxy/exchange/watchdog.ts";
import { createExchangeStage } from "../../../support/exchange-stage.ts";

/** How late a limit may strike, in milliseconds. */
const SWEEP_MS = 250;
const REARM_MS = 30_000;

const NO_LIMITS: TimeLimits = {
  connectTimeoutMs: Number.MAX_SAFE_INTEGER,
  responseTimeoutMs: 0,
  streamIdleTimeoutMs: 0,
  clientIdleTimeoutMs: 0,
};
/** Far longer than any limit here. */
const FOREVER_MS = 3_600_000;

function createStage(limits: Partial<TimeLimits> = {}) {
  const stage = createExchangeStage();
  const seams = {
    rearm: (_request: Request): void => {},
    connectionState: (_address: string, _port: number): Promise<ConnectionState> => Promise.resolve("unknown"),
    onSweep: (_nowMs: number): void => {},
  };
  const rearmed: Request[] = [];
  const asked: (readonly [string, number])[] = [];
  const watchdog = new Watchdog(
    stage.register,
    { ...NO_LIMITS, ...limits },
    {
      clock: stage.clock,
      rearm(request) {
        rearmed.push(request);
        seams.rearm(request);
      },
      connectionState(address, port) {
        asked.push([address, port]);
        return seams.connectionState(address, port);
      },
      onSweep: (nowMs) => seams.onSweep(nowMs),
    },
  );
  watchdog.start();
  return { ...stage, watchdog, seams, rearmed, asked };
}

type Stage = ReturnType<typeof createStage>;

/** An exchange in each state that waits for somebody. */
const BEGIN = {
  "a small body that is received": (stage: Stage) => stage.open(),
  "an answer that is awaited": (stage: Stage) => connect(stage, stage.open()),
  "an upload that the client owes": (stage: Stage) => upload(stage, "source"),
  "an upload that the sandbox owes": (stage: Stage) => upload(stage, "sink"),
  "a stream that the sandbox owes": (stage: Stage) => download(stage, "source"),
  "a stream that the client owes": (stage: Stage) => download(stage, "sink"),
  "a tunnel": (stage: Stage) => {
    const exchange = connect(stage, stage.open());
    exchange.answered(stage.clock.monotonic());
    exchange.openTunnel();
    return exchange;
  },
  "an answer that leaves": (stage: Stage) => stage.openLeaving(10),
} as const;
type Situation = keyof typeof BEGIN;

function connect({ clock }: Stage, exchange: Exchange): Exchange {
  exchange.connect(clock.monotonic());
  exchange.dialled = "10.0.0.7:80";
  return exchange;
}

function upload(stage: Stage, turn: "source" | "sink"): Exchange {
  const exchange = connect(stage, stage.open());
  exchange.upload = new BodyFlow(stage.clock.monotonic());
  if (turn === "source") exchange.upload.pull(stage.clock.monotonic());
  return exchange;
}

function download(stage: Stage, turn: "source" | "sink"): Exchange {
  const exchange = stage.openStalledDownload();
  if (turn === "source") exchange.download?.pull(stage.clock.monotonic());
  return exchange;
}

const LIMIT_MS = 10_000;
type Limit = "responseTimeoutMs" | "streamIdleTimeoutMs" | "clientIdleTimeoutMs";

/** Which limit ends which situation, and how. A situation without a row is not ended. */
const ROWS: readonly (readonly [Situation, Limit, IngressErrorCode])[] = [
  ["a small body that is received", "clientIdleTimeoutMs", "client_timeout"],
  ["an answer that is awaited", "responseTimeoutMs", "upstream_timeout"],
  ["an upload that the client owes", "clientIdleTimeoutMs", "client_timeout"],
  ["an upload that the client owes", "streamIdleTimeoutMs", "client_timeout"],
  ["an upload that the sandbox owes", "responseTimeoutMs", "upstream_timeout"],
  ["an upload that the sandbox owes", "streamIdleTimeoutMs", "upstream_timeout"],
  ["a stream that the sandbox owes", "streamIdleTimeoutMs", "upstream_timeout"],
  ["a stream that the client owes", "streamIdleTimeoutMs", "upstream_timeout"],
  ["a tunnel", "streamIdleTimeoutMs", "upstream_timeout"],
];
const SITUATIONS = Object.keys(BEGIN).filter((name): name is Situation => name in BEGIN);
const LIMITS: readonly Limit[] = ["responseTimeoutMs", "streamIdleTimeoutMs", "clientIdleTimeoutMs"];
const ALL = SITUATIONS.flatMap((situation) =>
  LIMITS.map((limit) => {
    const row = ROWS.find((candidate) => candidate[0] === situation && candidate[1] === limit);
    return [situation, limit, row?.[2]] as const;
  }),
);

describe("the limits of Watchdog", () => {
  test.each(ALL)("%s under %s ends with %p", (situation, limit, expected) => {
    const stage = createStage({ [limit]: LIMIT_MS });
    const exchange = BEGIN[situation](stage);
    stage.clock.advance(LIMIT_MS - 1);
    expect(exchange.cutBy).toBeUndefined();
    stage.clock.advance(SWEEP_MS);
    expect(exchange.cutBy?.code).toBe(expected);
    stage.clock.advance(FOREVER_MS);
    expect(exchange.cutBy?.code).toBe(expected);
  });

  test.each(SITUATIONS)("%s is not ended if the limits are 0", (situation) => {
    const stage = createStage();
    const exchange = BEGIN[situation](stage);
    stage.clock.advance(FOREVER_MS);
    expect(exchange.cutBy).toBeUndefined();
  });

  test.each(["a stream that the sandbox owes", "a tunnel"] as const)(
    "%s restarts its limit with each sign of life",
    (name) => {
      const stage = createStage({ streamIdleTimeoutMs: LIMIT_MS });
      const exchange = BEGIN[name](stage);
      for (let i = 0; i < 10; i++) {
        stage.clock.advance(LIMIT_MS - SWEEP_MS);
        exchange.countOut(1, stage.clock.monotonic());
      }
      expect(exchange.cutBy).toBeUndefined();
      stage.clock.advance(LIMIT_MS + SWEEP_MS);
      expect(exchange.cutBy?.code).toBe("upstream_timeout");
    },
  );

  test("an answer that is being collected is not a missing answer", () => {
    const stage = createStage({ responseTimeoutMs: LIMIT_MS });
    const exchange = BEGIN["an answer that is awaited"](stage);
    exchange.answered(stage.clock.monotonic());
    stage.clock.advance(FOREVER_MS);
    expect(exchange.cutBy).toBeUndefined();
  });
});

describe("Watchdog and a connection that does not come", () => {
  const dial = (stage: Stage) => BEGIN["an answer that is awaited"](stage);
  const settle = () => Bun.sleep(0);

  test.each([
    ["established", undefined, "waiting"],
    ["connecting", "upstream_unreachable", "connecting"],
    ["none", "upstream_unreachable", "connecting"],
    ["unknown", "upstream_unreachable", "connecting"],
  ] as const)("is told by the kernel: %s", async (state, code, expected) => {
    const stage = createStage({ connectTimeoutMs: LIMIT_MS });
    stage.seams.connectionState = () => Promise.resolve(state);
    const exchange = dial(stage);
    stage.clock.advance(LIMIT_MS - SWEEP_MS);
    expect(stage.asked).toEqual([]);
    stage.clock.advance(SWEEP_MS);
    await settle();
    expect(stage.asked).toEqual([["10.0.0.7", 80]]);
    expect([exchange.cutBy?.code, exchange.state]).toEqual([code, expected]);
  });

  test("is not cut if the kernel says nothing and one was open before", async () => {
    const stage = createStage({ connectTimeoutMs: LIMIT_MS });
    const exchange = dial(stage);
    exchange.upstream.noteConnected(80);
    stage.clock.advance(LIMIT_MS);
    await settle();
    expect(exchange.cutBy).toBeUndefined();
  });

  test("is asked about once at a time, and a late answer changes nothing", async () => {
    const stage = createStage({ connectTimeoutMs: LIMIT_MS });
    const { promise, resolve } = Promise.withResolvers<ConnectionState>();
    stage.seams.connectionState = () => promise;
    const exchange = dial(stage);
    exchange.dialled = "[2001:db8::7]:8080";
    stage.clock.advance(2 * LIMIT_MS);
    expect(stage.asked).toEqual([["2001:db8::7", 8080]]);
    exchange.answered(stage.clock.monotonic());
    resolve("none");
    await settle();
    expect(exchange.cutBy).toBeUndefined();
  });

  test.each([
    ["rejects", () => Promise.reject(new Error("on purpose"))],
    [
      "throws",
      () => {
        throw new Error("on purpose");
      },
    ],
  ])("ends as internal if the question %s", async (_name, connectionState) => {
    const stage = createStage({ connectTimeoutMs: LIMIT_MS });
    stage.seams.connectionState = connectionState;
    const exchange = dial(stage);
    stage.clock.advance(LIMIT_MS);
    await settle();
    expect(exchange.cutBy?.code).toBe("internal");
  });
});

describe("Watchdog and the idle timer of clients", () => {
  test.each([
    ["an answer that is awaited", true],
    ["an upload that the sandbox owes", true],
    ["a stream that the sandbox owes", true],
    ["a small body that is received", false],
    ["an upload that the client owes", false],
    ["a stream that the client owes", false],
    ["a tunnel", false],
    ["an answer that leaves", false],
  ] as const)("for %s resets it: %p", (situation, isRearmed) => {
    const stage = createStage();
    const { request } = BEGIN[situation](stage).subject;
    stage.clock.advance(REARM_MS - SWEEP_MS);
    expect(stage.rearmed).toEqual([]);
    stage.clock.advance(REARM_MS + SWEEP_MS);
    expect(stage.rearmed).toEqual(isRearmed ? [request, request] : []);
  });
});

describe("what is thrown in Watchdog", () => {
  test("for one exchange ends only that one as internal; the others are still checked", () => {
    const stage = createStage({ streamIdleTimeoutMs: 2 * REARM_MS });
    const [broken, other] = [download(stage, "source"), download(stage, "source")];
    stage.seams.rearm = (request) => {
      if (request === broken.subject.request) throw new Error("on purpose");
    };
    stage.clock.advance(REARM_MS);
    expect(stage.ends).toEqual([{ exchange: broken, code: "internal" }]);
    stage.clock.advance(REARM_MS);
    expect(other.cutBy?.code).toBe("upstream_timeout");
  });

  test("by a callback of the sweeps reaches the timer, and the sweeps go on", () => {
    const stage = createStage({ streamIdleTimeoutMs: LIMIT_MS });
    const exchange = download(stage, "source");
    stage.seams.onSweep = () => {
      throw new Error("on purpose");
    };
    expect(() => stage.clock.advance(SWEEP_MS)).toThrow("on purpose");
    stage.seams.onSweep = () => {};
    stage.clock.advance(LIMIT_MS);
    expect(exchange.cutBy?.code).toBe("upstream_timeout");
  });

  test("Watchdog.stop ends the sweeps", () => {
    const stage = createStage({ streamIdleTimeoutMs: LIMIT_MS });
    const exchange = download(stage, "source");
    stage.watchdog.stop();
    stage.clock.advance(FOREVER_MS);
    expect(exchange.cutBy).toBeUndefined();
  });
});
