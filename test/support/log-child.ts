/**
 * Run by a test in a process of its own: logs to standard output as fast as the event loop turns, and says on standard
 * error, once each 50 turns, how many lines were dropped. A line on standard input ends it.
 */
import { systemClock } from "../../src/clock.ts";
import { createLogger } from "../../src/log/logger.ts";

const LINES_PER_TURN = 50;
const TURNS_PER_REPORT = 50;

const logger = createLogger({ level: "info", format: "json", clock: systemClock });
let turns = 0;
const timer = setInterval(() => {
  for (let line = 0; line < LINES_PER_TURN; line += 1) logger.info("filler", { text: "x".repeat(500) });
  turns += 1;
  if (turns % TURNS_PER_REPORT === 0) console.error(JSON.stringify({ turns, dropped: logger.droppedLines() }));
}, 1);
process.stdin.once("data", () => {
  clearInterval(timer);
  void logger.flush().then(() => process.exit(0));
});
