import { expect, test } from "bun:test";
import { IngressError } from "../../../../src/errors.ts";
import { describeCause } from "../../../../src/proxy/report/describe-cause.ts";

const SECRET = "s3cr3t";
const URL_TEXT = `http://10.0.0.7:8888/${SECRET}?token=${SECRET}`;

function causeOf(cause: unknown, code: "upstream_protocol" | "internal" = "upstream_protocol"): string | undefined {
  return describeCause(new IngressError(code, undefined, { cause }));
}

const NO_CODE = `WebSocket connection to '${URL_TEXT.replace("http", "ws")}' failed: Response headers too large`;
const FORGED_STACK = `Error: x\n    at ${URL_TEXT}:1:2\n    at f (${URL_TEXT}:3:4)`;

test.each<[where: string, cause: () => Error]>([
  ["the message", () => Object.assign(new TypeError(`X fetching "${URL_TEXT}"`), { code: "X" })],
  ["the message of a WebSocket", () => new Error(NO_CODE)],
  ["a message without a code", () => new TypeError(`Invalid URL: ${URL_TEXT}`)],
  ["the code", () => Object.assign(new Error("x"), { code: URL_TEXT })],
  ["the name", () => Object.assign(new Error("x"), { name: URL_TEXT })],
  ["the stack", () => Object.assign(new Error("x"), { stack: FORGED_STACK })],
  ["a message that looks like a stack", () => new Error(`x\n    at ${SECRET} (${SECRET}.ts:1:2)`)],
])("describeCause repeats nothing of a request in %s", (_where, cause) => {
  for (const code of ["upstream_protocol", "internal"] as const) {
    const text = causeOf(cause(), code);
    expect(text).toBeString();
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain("\n");
  }
});

test("describeCause returns the code, else the name, and a known text", () => {
  expect(causeOf(Object.assign(new TypeError("x"), { code: "ECONNRESET" }))).toBe("ECONNRESET");
  expect(causeOf(new RangeError("x"))).toBe("RangeError");
  expect(causeOf(new Error("Invalid Upgrade header"))).toBe("Error Invalid Upgrade header");
  expect(causeOf(new Error("WebSocket connection to 'ws://h/' failed: Response headers too large"))).toBe(
    "Error Response headers too large",
  );
  expect(causeOf("no connection to the API server")).toBe("no connection to the API server");
  expect(causeOf({ anything: SECRET })).toBe("object");
  expect(describeCause(new IngressError("internal"))).toBeUndefined();
  expect(describeCause(undefined)).toBeUndefined();
});

test("describeCause returns the places of a bug", () => {
  const text = causeOf(new TypeError("undefined is not a function"), "internal");
  expect(text).toStartWith("TypeError at ");
  expect(text).toContain("describe-cause.test.ts:");
});
