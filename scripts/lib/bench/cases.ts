import type { BenchCase } from "./cases/bench-case.ts";
import { ECHO_CASES, HELD_CASES } from "./cases/held-cases.ts";
import { halfLoadCase, HTTP_CASES, policyCase, ROUTE_CASES, SANDBOX_CASES } from "./cases/http-cases.ts";
import { HTTP2_CASES } from "./cases/http2-cases.ts";
import { TRANSFER_CASES } from "./cases/transfer-cases.ts";

/** Every case, in the order in which they run and are listed. */
export const CASES: readonly BenchCase[] = [
  ...HTTP_CASES,
  ...TRANSFER_CASES,
  ...ECHO_CASES,
  ...SANDBOX_CASES,
  ...HTTP2_CASES,
  ...ROUTE_CASES,
  policyCase,
  halfLoadCase,
  ...HELD_CASES,
];
