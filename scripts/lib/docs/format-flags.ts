import { FLAG_GROUPS, FLAGS, type FlagSpec } from "../../../src/config/flags.ts";

/** Longest line of the generated document, in characters, so that it reads well in a terminal. */
const LINE_MAX_CHARS = 120;
const INDENT = "  ";

const INTRODUCTION = `# Flags

<!-- Generated from src/config/flags.ts by ./scripts/docs. Do not edit. -->

Go's flag syntax works: \`-x\` and \`--x\`, \`-x=v\` and \`-x v\`. The last occurrence wins. Booleans are \`-x\` or
\`-x=true|false\`. Durations look like \`30s\` or \`1m30s\`, sizes like \`64MiB\`. All faults of a command line are reported
at once. Exit codes: 0 after a clean stop, 1 after a failure, 2 for an invalid command line.`;

/** The text of `docs/flags.md`: every flag once, by group, in the order of `--help`. */
export function formatFlagsDocument(): string {
  const groups = FLAG_GROUPS.map((group) => {
    const flags: readonly FlagSpec[] = FLAGS.filter((flag) => flag.group === group);
    return [`## ${group}`, flags.map(formatFlag).join("\n")].join("\n\n");
  });
  return `${[INTRODUCTION, ...groups].join("\n\n")}\n`;
}

/** A flag's name in the documents: `--port <port>`. */
export function formatFlagName(flag: FlagSpec): string {
  return `--${flag.name}${flag.valueName === undefined ? "" : ` <${flag.valueName}>`}`;
}

/** A default in the documents; empty if there is none. */
export function formatDefault(flag: FlagSpec): string {
  if (flag.defaultText !== undefined) return flag.defaultText;
  return flag.default === "" ? "" : `\`${flag.default}\``;
}

function formatFlag(flag: FlagSpec): string {
  const shown = formatDefault(flag);
  const head = `- \`${formatFlagName(flag)}\`${shown === "" ? "" : ` (default ${shown})`}:`;
  const lines = [head];
  for (const word of `${flag.help}.`.split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line.length + 1 + word.length <= LINE_MAX_CHARS) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(`${INDENT}${word}`);
  }
  return lines.join("\n");
}
