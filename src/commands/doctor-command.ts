import type { CommandResult } from "./command-line.ts";
import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { Finding, FindingState } from "../doctor/finding.ts";
import { printable } from "../log/printable.ts";

const DOCTOR_USAGE = `Usage: ingress doctor [--json] [flags of the ingress]

Checks what an ingress with these flags needs: credentials, permissions and kinds at the API server, clocks, ports, keys,
Redis, memory, file descriptors, IPv6. It changes nothing, and each check takes at most 10 s. In a cluster, run it
in the ingress's own pod with the pod's own flags:

  kubectl exec deploy/opensandbox-ingress-gateway -- /ingress doctor --namespace=opensandbox

Each line is a state (ok, warn, FAIL, skip), what was checked, what was found, and what to do. Exit code: 0 nothing
failed (warnings may have come up), 1 something failed, 2 invalid command line.

  --json  print the findings as JSON: {"ok": …, "findings": [{"name", "state", "detail", "remedy"}]}
`;

/** What the command needs from the world. */
export interface DoctorCommandSeams {
  /** For flags with a variable behind them. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly examine: (config: Config) => Promise<readonly Finding[]>;
}

/** `ingress doctor`: checks everything around an ingress. Never rejects, never prints a secret. */
export async function runDoctorCommand(args: readonly string[], seams: DoctorCommandSeams): Promise<CommandResult> {
  const wantsJson = args.some(isJsonFlag);
  const parsed = parseConfig(
    args.filter((arg) => !isJsonFlag(arg)),
    seams.environment,
  );
  switch (parsed.kind) {
    case "help":
      return { stdout: DOCTOR_USAGE, stderr: "", exitCode: 0 };
    case "faults":
      return {
        stdout: "",
        stderr: `${parsed.faults.map((fault) => `ingress doctor: ${fault}\n`).join("")}\n${DOCTOR_USAGE}`,
        exitCode: 2,
      };
    case "run": {
      const findings = (await seams.examine(parsed.config)).map(toPrintable);
      const ok = findings.every(({ state }) => state !== "fail");
      const stdout = wantsJson ? `${JSON.stringify({ ok, findings }, undefined, 2)}\n` : formatFindings(findings);
      return { stdout, stderr: "", exitCode: ok ? 0 : 1 };
    }
    default:
      return { stdout: "", stderr: `ingress doctor: expected flags only\n\n${DOCTOR_USAGE}`, exitCode: 2 };
  }
}

function isJsonFlag(arg: string): boolean {
  return arg === "--json" || arg === "-json";
}

/** Other machines wrote parts of the texts. */
function toPrintable({ name, state, detail, remedy }: Finding): Finding {
  return {
    name: printable(name),
    state,
    detail: printable(detail),
    ...(remedy !== undefined && { remedy: printable(remedy) }),
  };
}

const STATE_WORDS: Readonly<Record<FindingState, string>> = { ok: "ok", warn: "warn", fail: "FAIL", skip: "skip" };

function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(0, ...findings.map(({ name }) => name.length));
  return findings
    .map(({ name, state, detail, remedy }) => {
      // A detail from elsewhere may be a whole sentence already.
      const stop = /[.!?…]$/.test(detail) ? "" : ".";
      const advice = remedy === undefined ? "" : `${stop} Remedy: ${remedy}`;
      return `${STATE_WORDS[state].padEnd(4)}  ${name.padEnd(width)}  ${detail}${advice}\n`;
    })
    .join("");
}
