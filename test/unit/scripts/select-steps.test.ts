import { expect, test } from "bun:test";
import { selectSteps } from "../../../scripts/lib/steps/select-steps.ts";

const STEPS = [
  { name: "lint" },
  { name: "build" },
  { name: "unit" },
  { name: "e2e", needs: ["build", "absent"] },
  { name: "demo", needs: ["e2e"] },
];

const namesOf = (names: readonly string[]) => selectSteps(STEPS, names).map((step) => step.name);

test("selectSteps gives every step when none is named", () => {
  expect(namesOf([])).toEqual(STEPS.map((step) => step.name));
});

test("selectSteps gives the named steps once, in the order of the list", () => {
  expect(namesOf(["unit", "lint", "unit"])).toEqual(["lint", "unit"]);
});

test("selectSteps adds what a step needs, also at second hand, and ignores a need that is not there", () => {
  expect(namesOf(["e2e"])).toEqual(["build", "e2e"]);
  expect(namesOf(["demo"])).toEqual(["build", "e2e", "demo"]);
});

test("selectSteps refuses an unknown name and tells the known ones", () => {
  expect(() => namesOf(["unit", "units"])).toThrow("unknown step units: choose from lint, build, unit, e2e, demo");
});
