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

test("selectSteps returns all steps without a name", () => {
  expect(namesOf([])).toEqual(STEPS.map((step) => step.name));
});

test("selectSteps returns the named steps once, in the order of the list", () => {
  expect(namesOf(["unit", "lint", "unit"])).toEqual(["lint", "unit"]);
});

test("selectSteps adds the steps that a step needs, directly or not, and ignores a missing one", () => {
  expect(namesOf(["e2e"])).toEqual(["build", "e2e"]);
  expect(namesOf(["demo"])).toEqual(["build", "e2e", "demo"]);
});

test("selectSteps refuses an unknown name and lists the known ones", () => {
  expect(() => namesOf(["unit", "units"])).toThrow("unknown step units: choose from lint, build, unit, e2e, demo");
});
