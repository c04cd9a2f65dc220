// bench-workers.ts: what a second ingress process on the same port would bring; `scripts/bench` describes it.
import { parseArgs } from "node:util";
import { CASES } from "./lib/bench/cases.ts";
import { startIngressGroup } from "./lib/bench/ingress-group.ts";
import { startStage } from "./lib/bench/stage.ts";
import { describeMachine } from "./lib/bench/machine.ts";
import { formatMachine } from "./lib/bench/tables.ts";
import { ARRANGEMENTS, compareGroups, type Comparison } from "./lib/bench/workers.ts";
import { formatComparison, formatConclusion } from "./lib/bench/workers-tables.ts";

/** The cases in which a second process could bring most. */
const CASE_NAMES: readonly string[] = ["get-1k-64", "get-1k-512", "sandboxes-1000", "echo-64"];
/** The number of sandboxes of the largest case. */
const SANDBOXES = 1_000;

const { values } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    case: { type: "string", multiple: true, default: [...CASE_NAMES] },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
  },
});
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
const cases = CASES.filter(({ name }) => CASE_NAMES.includes(name) && values.case.includes(name));
if (!(rounds >= 1 && seconds >= 1) || cases.length !== values.case.length) {
  console.error(`bench workers: --rounds and --seconds are at least 1, --case is one of ${CASE_NAMES.join(", ")}`);
  process.exit(2);
}

console.log(`${formatMachine(describeMachine())}\n`);
const stage = await startStage();
const comparisons: Comparison[] = [];
try {
  const one = await startIngressGroup(1, SANDBOXES, stage);
  try {
    const two = await startIngressGroup(2, SANDBOXES, stage);
    try {
      for (const benchCase of cases) {
        for (const arrangement of ARRANGEMENTS) {
          const options = { groups: { one, two }, stage, rounds, seconds };
          const comparison = await compareGroups(benchCase, arrangement, options);
          comparisons.push(comparison);
          console.log(formatComparison(comparison));
        }
      }
    } finally {
      await two.stop();
    }
  } finally {
    await one.stop();
  }
} finally {
  await stage.stop();
}
console.log(formatConclusion(comparisons));
