import { FLAG_GROUPS, FLAGS, type FlagSpec } from "./flags.ts";

/** Column at which descriptions begin, and the longest line, in characters. */
const TEXT_COLUMN = 41;
const LINE_MAX_CHARS = 100;

/** Keeps two words on one line while lines are broken. */
const HARD_SPACE = "\u00a0";

const INTRODUCTION = `OpenSandbox Ingress: routes HTTP and WebSocket requests to sandboxes.

Usage:
  ingress [flags]
  ingress sign|verify [flags]     make or check a signed route; see ingress sign --help
  ingress explain <url> [flags]   say what would happen to a request; see ingress explain --help
  ingress sandboxes [flags]       list the sandboxes that are seen; see ingress sandboxes --help
  ingress ready [flags]           ask a running ingress whether it is ready; see ready --help
  ingress doctor [flags]          check what an ingress with these flags needs; see doctor --help

Examples:
  ingress --namespace=opensandbox
      Watch the BatchSandboxes of one namespace and listen on port 28888.
  ingress --all-namespaces --provider-type=agent-sandbox --mode=uri
      Route /<id>/<port>/... to the agent sandboxes of a whole cluster.
  ingress --manifests=./sandboxes --port=8080
      Run without Kubernetes, on the custom resources in a folder.`;

const NOTES = `Write flags as -name or --name, values as -name=value or -name value (booleans only with =). The
last use of a flag counts. Durations are Go's: 300ms, 5s, 1m30s. Sizes: 65536, 64KiB, 64MiB, 10MB.

Environment:
  KUBECONFIG                             See --kubeconfig
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,   Where to push metrics over OTLP/HTTP; by default to port
  OTEL_EXPORTER_OTLP_ENDPOINT            4318 of HOST_IP, if set; off with OTEL_SDK_DISABLED=true
  OTEL_TRACES_EXPORTER                   "otlp" turns traces on; see docs/operations.md

Exit code: 0 stopped, 1 failed, 2 invalid command line.`;

/** The text of `--help`: all flags of the table, by group. */
export function formatHelp(): string {
  const groups = FLAG_GROUPS.map((group) => {
    const flags: readonly FlagSpec[] = FLAGS.filter((flag) => flag.group === group);
    return [`${group}:`, ...flags.flatMap(formatFlag)].join("\n");
  });
  return `${[INTRODUCTION, ...groups, NOTES].join("\n\n")}\n`;
}

/** The text below the faults of a command line. */
export function formatUsage(): string {
  return "Usage: ingress [flags]\nRun ingress --help for every flag.\n";
}

function formatFlag(spec: FlagSpec): string[] {
  const head = `  --${spec.name}${spec.valueName === undefined ? "" : ` <${spec.valueName}>`}`;
  const shown = spec.type === "bool" ? "" : (spec.defaultText ?? spec.default);
  const lines = wrap(
    `${spec.help}${shown === "" ? "" : ` (default${HARD_SPACE}${shown})`}`,
    LINE_MAX_CHARS - TEXT_COLUMN,
  );
  // A long name has a line of its own.
  if (head.length >= TEXT_COLUMN) return [head, ...lines.map((line) => `${"".padEnd(TEXT_COLUMN)}${line}`)];
  return lines.map((line, index) => `${(index === 0 ? head : "").padEnd(TEXT_COLUMN)}${line}`);
}

/** Breaks a text at its spaces. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((text) => text.replaceAll(HARD_SPACE, " "));
}
