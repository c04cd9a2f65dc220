import type { SandboxPage, SandboxRow } from "../admin/sandbox-list.ts";
import { PAGE_ROWS_MAX, readSandboxQuery } from "../admin/sandbox-query.ts";
import { faultTextOf } from "../config/text.ts";
import { printable } from "../log/printable.ts";
import { isObject } from "../values.ts";
import { askAdmin } from "./ask-admin.ts";
import { asksForHelp, type CommandResult, usageResult } from "./command-line.ts";
import {
  ASK_FLAGS,
  chooseSource,
  type CommandSource,
  createNotes,
  type LookSeams,
  SOURCE_USAGE,
  takeFlags,
} from "./command-source.ts";

/** The most sandboxes that are listed: more than a large cluster has. */
const ROWS_MAX = 200_000;

const SANDBOXES_USAGE = `Usage: ingress sandboxes [--search <text>] [--state <state>] [flags]

Lists the sandboxes that an ingress sees: state and reason, since when, last use, open connections, errors.
Exit status: 0 they are listed, 1 they could not be read, 2 usage.

  --search            only those with this text in name, namespace, uid or address
  --state             only those that are ready, not-ready or ambiguous
  --json              print them as JSON
${SOURCE_USAGE}`;

/** One page of the list. */
type ReadPage = (parameters: URLSearchParams) => Promise<SandboxPage>;

/** `ingress sandboxes`. Never rejects. */
export async function runSandboxesCommand(args: readonly string[], seams: LookSeams): Promise<CommandResult> {
  if (asksForHelp(args)) return { stdout: SANDBOXES_USAGE, stderr: "", exitCode: 0 };
  const taken = takeFlags(args, { valued: ["search", "state", ...ASK_FLAGS], switches: ["json"] });
  const faults = [...taken.faults];
  const parameters = new URLSearchParams({ limit: String(PAGE_ROWS_MAX) });
  const [search, state] = [taken.values.get("search")?.at(-1), taken.values.get("state")?.at(-1)];
  if (search !== undefined) parameters.set("q", search);
  if (state !== undefined) parameters.set("state", state);
  try {
    readSandboxQuery(toUrl(parameters));
  } catch (thrown) {
    faults.push(faultTextOf(thrown));
  }
  const source = chooseSource(taken, faults, seams);
  if (source === undefined || faults.length > 0) return usageResult("sandboxes", SANDBOXES_USAGE, faults);
  const notes = createNotes("sandboxes");
  const isJson = taken.values.has("json");
  try {
    const list = await readAll(parameters, source, { seams, notes });
    const stdout = isJson ? `${JSON.stringify(list)}\n` : formatTable(list.sandboxes);
    return { stdout, stderr: notes.format(), exitCode: 0 };
  } catch (thrown) {
    return { stdout: "", stderr: `${notes.format()}ingress sandboxes: ${faultTextOf(thrown)}\n`, exitCode: 1 };
  }
}

async function readAll(
  parameters: URLSearchParams,
  source: CommandSource,
  parts: { readonly seams: LookSeams; readonly notes: ReturnType<typeof createNotes> },
) {
  if (source.kind === "ask") return readPages(parameters, (page) => askPage(source, page));
  const { createLook } = await import("../look.ts");
  const looking = await createLook(source.config, { ...parts.seams, logger: parts.notes.logger });
  try {
    await looking.start();
    return await readPages(parameters, (page) => looking.sandboxes(readSandboxQuery(toUrl(page))));
  } finally {
    await looking.stop();
  }
}

/**
 * Reads all pages. Throws if the list is not complete: a missing sandbox must not look like one that does not exist.
 */
async function readPages(parameters: URLSearchParams, read: ReadPage) {
  const sandboxes: SandboxRow[] = [];
  for (;;) {
    const page = await read(parameters);
    if (!page.synced) throw new Error(`The list is not complete: ${page.fault ?? "the first one is being read"}`);
    sandboxes.push(...page.sandboxes);
    if (page.next === undefined || sandboxes.length >= ROWS_MAX)
      return { sandboxes, counts: page.counts, ageMs: page.ageMs };
    parameters.set("cursor", page.next);
  }
}

async function askPage(source: CommandSource & { kind: "ask" }, parameters: URLSearchParams): Promise<SandboxPage> {
  const page = await askAdmin({ ...source, path: `/debug/sandboxes?${parameters.toString()}` });
  if (!isPage(page)) throw new Error("The answer is not a list of sandboxes: is this the admin port of an ingress?");
  return page;
}

function isPage(value: unknown): value is SandboxPage {
  return isObject(value) && Array.isArray(value["sandboxes"]);
}

function toUrl(parameters: URLSearchParams): URL {
  return new URL(`http://admin/?${parameters.toString()}`);
}

const HEADINGS = ["NAMESPACE", "ID", "STATE", "SINCE", "LAST USE", "OPEN", "ERRORS", "REASON"] as const;

function formatTable(rows: readonly SandboxRow[]): string {
  const table = [[...HEADINGS], ...rows.map(toCells)];
  const widths = HEADINGS.map((_, column) => table.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0));
  return table
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

function toCells(row: SandboxRow): string[] {
  const since = row.since === undefined ? "-" : `${row.sinceAtLeast === true ? "before " : ""}${toSeconds(row.since)}`;
  const lastUse = row.lastUse === undefined ? "-" : toSeconds(row.lastUse);
  const { namespace, id, state, open = "-", errors = "-" } = row;
  const reasons = [row.reason, row.policyFault].filter((text) => text !== undefined).join("; ");
  return [namespace, id, state, since, lastUse, String(open), String(errors), reasons].map(printable);
}

function toSeconds(time: string): string {
  return time.replace(/\.\d{3}Z$/, "Z");
}
