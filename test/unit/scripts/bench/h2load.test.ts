import { expect, test } from "bun:test";

import { parseH2load } from "../../../../scripts/lib/bench/h2load.ts";
import { LoadError } from "../../../../scripts/lib/bench/http-load.ts";

const output = (requests: string, statuses: string) => `starting benchmark...
finished in 3.00s, 25000.33 req/s, 26.51MB/s
requests: 75065 total, 75065 started, ${requests}
status codes: ${statuses}
traffic: 79.53MB (83394100) total, 0B (0) headers (space savings 0.00%), 73.24MB (76800000) data
`;

test("parseH2load: reads what succeeded and the time", () => {
  const text = output("75001 done, 75001 succeeded, 0 failed, 0 errored, 0 timeout", "75001 2xx, 0 3xx, 0 4xx, 0 5xx");
  expect(parseH2load(text)).toEqual({ requests: 75_001, seconds: 3 });
});

test.each([
  ["no summary", ""],
  ["no request", output("0 done, 0 succeeded, 0 failed, 0 errored, 0 timeout", "0 2xx, 0 3xx, 0 4xx, 0 5xx")],
  ["a failure", output("5 done, 4 succeeded, 1 failed, 0 errored, 0 timeout", "4 2xx, 0 3xx, 0 4xx, 0 5xx")],
  ["an error", output("5 done, 4 succeeded, 0 failed, 1 errored, 0 timeout", "4 2xx, 0 3xx, 0 4xx, 0 5xx")],
  ["a time-out", output("5 done, 4 succeeded, 0 failed, 0 errored, 1 timeout", "4 2xx, 0 3xx, 0 4xx, 0 5xx")],
  ["a redirect", output("5 done, 5 succeeded, 0 failed, 0 errored, 0 timeout", "4 2xx, 1 3xx, 0 4xx, 0 5xx")],
  ["a refusal", output("5 done, 5 succeeded, 0 failed, 0 errored, 0 timeout", "4 2xx, 0 3xx, 0 4xx, 1 5xx")],
])("parseH2load refuses %s", (_, text) => {
  expect(() => parseH2load(text)).toThrow(LoadError);
});
