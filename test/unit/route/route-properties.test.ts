import { describe, expect, test } from "bun:test";
import { IngressError } from "../../../src/errors.ts";
import { formatLabelRoute, formatUriRoute, type RouteTarget } from "../../../src/route/format-route.ts";
import { parseRoute, type RouteInput } from "../../../src/route/parse-route.ts";
import type { Route, RouteMode } from "../../../src/route/route.ts";
import { createRandom, type Random } from "../../../scripts/lib/stage/random.ts";

const SEED = 20_260_801;
const ROUNDS = 20_000;

const LABEL_ID_ALPHABET = "abcXYZ019-_~!$&'()*+;=";
const MODES: readonly [RouteMode, ...RouteMode[]] = ["header", "uri"];
const ROUTE_CODES: readonly string[] = ["route_missing", "route_invalid"];

/** Pieces that parsers tend to trip over, mixed with noise. */
const PIECES: readonly [string, ...string[]] = [
  "-",
  ...Array.from("./:, \t%-aZ09!é\u{7f}\u{0}"),
  "80",
  "0",
  "08080",
  "65535",
  "65536",
  "x2qxvk",
  "01086ceca",
  "3w5e11264sgsf",
  "3w5e11264sgsg",
  "http://",
  "https://",
  "[::1]",
  "--",
  "//",
  "-80",
  "/80",
  "-8080-x2qxvk-01086ceca",
  "/sb/8080/x2qxvk/01086ceca",
];

function randomText(random: Random): string {
  let text = "";
  for (let left = random.integer(9); left > 0; left--) text += random.pick(PIECES);
  return text;
}

/** Noise, or a written route in which up to two places have been overwritten. */
function randomRouteText(random: Random, format: (target: RouteTarget) => string): string {
  if (random.integer(2) === 0) return randomText(random);
  let text = format(randomTarget(random));
  for (let left = random.integer(3); left > 0; left--) {
    const at = random.integer(text.length + 1);
    text = text.slice(0, at) + random.pick(PIECES) + text.slice(at + random.integer(3));
  }
  return text;
}

/** `Headers` refuses line ends and NUL; so does the server, long before routing. */
function asFieldValue(text: string): string {
  return text.replaceAll("\u{0}", "\u{1}");
}

function randomInput(random: Random): RouteInput {
  const headers = new Headers();
  for (const name of ["OpenSandbox-Ingress-To", "OPEN-SANDBOX-INGRESS"]) {
    if (random.integer(3) === 0) headers.set(name, asFieldValue(randomRouteText(random, formatLabelRoute)));
  }
  return {
    path: randomRouteText(random, formatUriRoute),
    headers,
    host: randomRouteText(random, formatLabelRoute),
  };
}

function randomTarget(random: Random): RouteTarget {
  const signature = {
    expiresB36: BigInt(Math.floor(2 ** random.integer(53))).toString(36),
    signature: random.text("0123456789abcdef", 8) + random.text("0123456789abcdefghijklmnopqrstuvwxyz", 1),
  };
  return {
    sandboxId: random.text(LABEL_ID_ALPHABET, 1 + random.integer(60)),
    port: 1 + random.integer(65_535),
    signature: random.integer(2) === 0 ? undefined : signature,
  };
}

function expectSound(route: Route, input: RouteInput): void {
  expect(route.sandboxId).toMatch(/^[a-zA-Z0-9\-._~!$&'()*+;=]{1,253}$/);
  expect(route.port).toBeGreaterThanOrEqual(1);
  expect(route.port).toBeLessThanOrEqual(65_535);
  if (route.form === "uri") {
    expect(route.path).toStartWith("/");
    expect(route.signedPath).toStartWith("/");
    expect(route.prefix).toBe(`/${route.sandboxId}/${route.port}`);
    expect(input.path).toBe(route.prefix + (route.path === "/" ? input.path.slice(route.prefix.length) : route.path));
  } else {
    expect(route).toMatchObject({ path: input.path, signedPath: input.path, prefix: "" });
  }
}

describe("parseRoute on random input", () => {
  test(`parseRoute returns a sound Route or an IngressError with a route code (seed ${SEED})`, () => {
    const random = createRandom(SEED);
    let parsed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const input = randomInput(random);
      try {
        expectSound(parseRoute(input, random.pick(MODES)), input);
        parsed++;
      } catch (thrown) {
        if (!(thrown instanceof IngressError)) throw thrown;
        expect(ROUTE_CODES).toContain(thrown.code);
      }
    }
    // The generator is worth something only while it reaches both ends.
    expect(parsed).toBeGreaterThan(ROUNDS / 5);
    expect(parsed).toBeLessThan((4 * ROUNDS) / 5);
  });

  test(`parseRoute reads back what formatLabelRoute and formatUriRoute wrote (seed ${SEED})`, () => {
    const random = createRandom(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      const target = randomTarget(random);
      const label = formatLabelRoute(target);
      const headers = new Headers({ "OpenSandbox-Ingress-To": label });
      expect(parseRoute({ path: "/x", headers, host: "" }, "header")).toMatchObject({ form: "header", ...target });

      const host = { ...target, sandboxId: target.sandboxId.toLowerCase() };
      const input = { path: "/x", headers: new Headers(), host: `${formatLabelRoute(host)}.example.test:8443` };
      expect(parseRoute(input, "header")).toMatchObject({ form: "host", ...host });

      const path = `${formatUriRoute(target)}/x`;
      expect(parseRoute({ path, headers: new Headers(), host: "" }, "uri")).toMatchObject({
        form: "uri",
        signedPath: "/x",
        ...target,
      });
    }
  });
});

describe("parseRoute's cost", () => {
  const hostile: readonly (readonly [string, (length: number) => string])[] = [
    ["hyphens", (length) => "-".repeat(length)],
    ["signed tails", (length) => "-80-x-01086ceca".repeat(length / 15)],
    ["expiries", (length) => `${"a-".repeat(length / 2)}01086ceca`],
    ["slashes", (length) => "/".repeat(length)],
    ["segments", (length) => "/a".repeat(length / 2)],
    ["one label", (length) => `${"a".repeat(length)}-80`],
    ["one tail", (length) => `a-80.${"a".repeat(length)}`],
    ["one path", (length) => `/a/80/${"a".repeat(length)}`],
    ["blanks", (length) => `a${" ".repeat(length)}b`],
  ];

  // A parser of quadratic cost takes minutes for such a text, and the runner ends the test after seconds.
  test.each(hostile)("parseRoute ends with a million characters of %s", (_, build) => {
    const text = build(900_000);
    const input = { path: text, headers: new Headers({ "OpenSandbox-Ingress-To": text }), host: text };
    const inputs: readonly (readonly [RouteInput, RouteMode])[] = [
      [input, "header"],
      [{ ...input, headers: new Headers() }, "header"],
      [input, "uri"],
    ];
    for (const [each, mode] of inputs) {
      const run = () => parseRoute(each, mode);
      try {
        expect(run().port).toBe(80);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(IngressError);
      }
    }
  });
});
