import { expect } from "bun:test";
import type { Finding, FindingState } from "../../src/doctor/finding.ts";

/** Expects the state, and a text in the detail or the remedy. */
export function expectFinding(finding: Finding, state: FindingState, text: string): void {
  expect(finding.state).toBe(state);
  expect(`${finding.detail}; ${finding.remedy ?? ""}`).toContain(text);
}
