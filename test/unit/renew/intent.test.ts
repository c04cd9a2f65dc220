import { expect, test } from "bun:test";
import { buildIntent, REQUEST_URI_MAX_LENGTH } from "../../../src/renew/intent.ts";
import { sandboxRecord } from "../../../scripts/lib/stage/sandbox-objects.ts";

test("buildIntent makes exactly the payload of OSEP-0009", () => {
  const record = sandboxRecord({ name: "sb-1", namespace: "ns" });
  const observedAtMs = Date.UTC(2026, 5, 15, 1, 2, 3, 123);
  const intent = buildIntent({ record, port: 8080, path: "/x", renews: true }, observedAtMs);
  expect(intent.json).toBe(
    '{"sandbox_id":"sb-1","observed_at":"2026-06-15T01:02:03.123Z","port":8080,"request_uri":"/x","namespace":"ns"}',
  );
  expect(intent.observedAtMs).toBe(observedAtMs);
});

test("buildIntent cuts a path at REQUEST_URI_MAX_LENGTH", () => {
  const record = sandboxRecord();
  const uriOf = (length: number) => {
    const path = `/${"a".repeat(length - 1)}`;
    const payload: unknown = JSON.parse(buildIntent({ record, port: 1, path, renews: true }, 0).json);
    return payload;
  };
  const longest = `/${"a".repeat(REQUEST_URI_MAX_LENGTH - 1)}`;
  expect(uriOf(REQUEST_URI_MAX_LENGTH)).toMatchObject({ request_uri: longest });
  expect(uriOf(REQUEST_URI_MAX_LENGTH + 1)).toMatchObject({ request_uri: longest });
});

test("buildIntent escapes any path", () => {
  const path = '/"\\\u0001\ud800ä';
  const payload: unknown = JSON.parse(buildIntent({ record: sandboxRecord(), port: 1, path, renews: true }, 0).json);
  expect(payload).toMatchObject({ request_uri: path });
});
