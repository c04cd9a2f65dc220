import { parseDurationMs } from "../duration.ts";
import { faultTextOf } from "../config/text.ts";
import { printable } from "../log/printable.ts";
import { readAdminText, sendToAdmin } from "./ask-admin.ts";
import { collectFault, type CommandResult, readCommandArguments, usageResult } from "./command-line.ts";
import { DEFAULT_ADMIN, parseAdminUrl } from "./command-source.ts";

const READY_FLAGS = ["admin", "wait"] as const;

/** The longest `--wait`, in milliseconds. Nobody waits longer for one ingress. */
const WAIT_MAX_MS = 3_600_000;
/** Pause between two questions, in milliseconds. */
const PAUSE_MS = 1_000;

const READY_USAGE = `Usage: ingress ready [--admin <url>] [--wait <duration>]

Asks a running ingress whether it is ready for traffic (/readyz on its admin port), and prints its checks. For images
without a shell: the test of the Helm chart uses it.
Exit code: 0 ready, 1 not ready or no answer, 2 invalid command line.

  --admin  the admin port of the ingress (default ${DEFAULT_ADMIN})
  --wait   ask again for this time until it is ready (default 0: ask once; at most 1h)
`;

/** What the command needs from its environment. */
export interface ReadyCommandSeams {
  /** Milliseconds from an arbitrary start; never goes back. */
  readonly monotonic: () => number;
  /** Resolves after `delayMs`; keeps the process alive. */
  readonly pause: (delayMs: number) => Promise<void>;
}

/** `ingress ready`: asks /readyz. Never rejects. */
export async function runReadyCommand(args: readonly string[], seams: ReadyCommandSeams): Promise<CommandResult> {
  const { flags, positionals, faults: syntaxFaults, wantsHelp } = readCommandArguments(args, READY_FLAGS);
  if (wantsHelp) return { stdout: READY_USAGE, stderr: "", exitCode: 0 };
  const faults = [...syntaxFaults];
  if (positionals.length > 0) faults.push("expected flags only");
  const admin = collectFault(faults, "--admin", () => parseAdminUrl(flags.get("admin") ?? DEFAULT_ADMIN));
  const waitMs = collectFault(faults, "--wait", () =>
    parseDurationMs(flags.get("wait") ?? "0", { maxMs: WAIT_MAX_MS }),
  );
  if (admin === undefined || waitMs === undefined || faults.length > 0) {
    return usageResult("ready", READY_USAGE, faults);
  }
  const deadline = seams.monotonic() + waitMs;
  for (;;) {
    const result = await ask(admin);
    if (result.exitCode === 0 || seams.monotonic() + PAUSE_MS > deadline) return result;
    await seams.pause(PAUSE_MS);
  }
}

async function ask(admin: URL): Promise<CommandResult> {
  try {
    const answer = await sendToAdmin({ admin, token: undefined, path: "/readyz?verbose" }, "--admin says where it is");
    const text = await readAdminText(answer);
    const stdout = text
      .trimEnd()
      .split("\n")
      .map((line) => `${printable(line)}\n`)
      .join("");
    return { stdout, stderr: "", exitCode: answer.status === 200 ? 0 : 1 };
  } catch (thrown) {
    return { stdout: "", stderr: `ingress ready: ${faultTextOf(thrown)}\n`, exitCode: 1 };
  }
}
