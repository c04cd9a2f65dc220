import { expect, test } from "bun:test";

import { listFailures } from "../../../src/admin/request-list.ts";

test("listFailures: shortens what a client can make long", () => {
  const failure = {
    timeMs: 0,
    method: "M".repeat(5_000),
    form: "uri",
    sandboxId: "x".repeat(60_000),
    port: 80,
    status: 404,
    code: "sandbox_not_found",
    durationMs: 1,
    requestId: "r-1",
    clientAddress: "127.0.0.1",
  } as const;
  const { failures } = listFailures([failure, { ...failure, sandboxId: undefined }]);
  expect(failures.map(({ method, sandboxId }) => [method.length, sandboxId?.length])).toEqual([
    [32, 256],
    [32, undefined],
  ]);
});
