import type { ExplainAnswer } from "../admin/explain-page.ts";
import { faultTextOf } from "../config/text.ts";
import { printable } from "../log/printable.ts";
import { toAskedRequest } from "../proxy/explain/question.ts";
import { isObject } from "../values.ts";
import { askAdmin } from "./ask-admin.ts";
import { asksForHelp, collectFault, type CommandResult, usageResult } from "./command-line.ts";
import {
  ASK_FLAGS,
  chooseSource,
  type CommandSource,
  createNotes,
  type LookSeams,
  SOURCE_USAGE,
  takeFlags,
} from "./command-source.ts";

const EXPLAIN_USAGE = `Usage: ingress explain <url or route> [--header '<name>: <value>' …] [flags]

Says step by step what would happen to a request: form, sandbox or similar names, access, policy, readiness, address,
limits. The route is a URL, a path, a host name or a value of OpenSandbox-Ingress-To. Nothing is sent to the sandbox,
and nothing wakes it, but a wrong signature counts as a guess. Exit status: 0 it would be forwarded, at once or after it
was held for the sandbox or woke it (the last line says which), 1 it would be refused at once, 2 usage.

  --header            a header of the request; may be given several times. The list of processes shows a
                      secret on the command line
  --method            its method (default GET)
  --json              print the answer of /debug/explain as it is
${SOURCE_USAGE}`;

interface ExplainQuestion {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** `ingress explain`. Never rejects, never prints a credential. */
export async function runExplainCommand(args: readonly string[], seams: LookSeams): Promise<CommandResult> {
  const [target, ...flags] = args;
  if (target === undefined || target.startsWith("-")) {
    if (asksForHelp(args)) return { stdout: EXPLAIN_USAGE, stderr: "", exitCode: 0 };
    return usageResult("explain", EXPLAIN_USAGE, ["the URL or route is missing: it comes first"]);
  }
  if (asksForHelp(flags)) return { stdout: EXPLAIN_USAGE, stderr: "", exitCode: 0 };
  const taken = takeFlags(flags, { valued: ["header", "method", ...ASK_FLAGS], switches: ["json"] });
  const faults = [...taken.faults];
  const headers = (taken.values.get("header") ?? []).map((text) =>
    collectFault(faults, "--header", () => parseHeader(text)),
  );
  const method = taken.values.get("method")?.at(-1) ?? "GET";
  if (!/^[A-Za-z]{1,32}$/.test(method)) faults.push("--method: not a method of HTTP");
  const question: ExplainQuestion = { method, target, headers: headers.filter((field) => field !== undefined) };
  const source = chooseSource(taken, faults, seams);
  if (source === undefined || faults.length > 0) return usageResult("explain", EXPLAIN_USAGE, faults);
  const notes = createNotes("explain");
  try {
    const answer = source.kind === "ask" ? await ask(source, question) : await look(source, question, { seams, notes });
    const stdout = taken.values.has("json") ? `${JSON.stringify(answer)}\n` : formatAnswer(answer);
    return { stdout, stderr: notes.format(), exitCode: answer.forwarded ? 0 : 1 };
  } catch (thrown) {
    return { stdout: "", stderr: `${notes.format()}ingress explain: ${faultTextOf(thrown)}\n`, exitCode: 1 };
  }
}

async function ask(source: CommandSource & { kind: "ask" }, question: ExplainQuestion): Promise<ExplainAnswer> {
  const { method, target, headers } = question;
  const fields: Record<string, string[]> = {};
  for (const [name, value] of headers) (fields[name] ??= []).push(value);
  const answer = await askAdmin({
    ...source,
    path: "/debug/explain",
    body: { route: target, method, headers: fields },
  });
  if (!isAnswer(answer)) throw new Error("The answer is not an explanation: is this the admin port of an ingress?");
  return answer;
}

async function look(
  { config }: CommandSource & { kind: "look" },
  question: ExplainQuestion,
  { seams, notes }: { readonly seams: LookSeams; readonly notes: ReturnType<typeof createNotes> },
): Promise<ExplainAnswer> {
  const asked = toAskedRequest(question);
  const { createLook } = await import("../look.ts");
  const looking = await createLook(config, { ...seams, logger: notes.logger });
  try {
    await looking.start();
    return await looking.explain(asked);
  } finally {
    await looking.stop();
  }
}

/** One line for each step, and the verdict. */
function formatAnswer({ steps, forwarded, wait, status, code, nearest }: ExplainAnswer): string {
  const width = Math.max(...steps.map(({ name }) => name.length));
  const lines = steps.map(({ name, outcome, text }) => `${name.padEnd(width)}  ${outcome.padEnd(7)}  ${text}`);
  const refusal = code === undefined ? "the ingress answers itself" : code;
  const passed = wait?.text ?? "would be forwarded";
  const verdict = forwarded ? passed : `would not be forwarded: ${status ?? ""} ${refusal}`;
  const near = nearest === undefined || nearest.length === 0 ? [] : [`did you mean ${nearest.join(" or ")}?`];
  return [...lines, verdict, ...near].map((line) => `${printable(line)}\n`).join("");
}

function parseHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(":");
  if (colon < 1) throw new Error("expected '<name>: <value>'");
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

function isAnswer(value: unknown): value is ExplainAnswer {
  if (!isObject(value) || !Array.isArray(value["steps"]) || typeof value["forwarded"] !== "boolean") return false;
  const steps: readonly unknown[] = value["steps"];
  return steps.length > 0 && steps.every(isStep);
}

function isStep(value: unknown): boolean {
  return isObject(value) && [value["name"], value["outcome"], value["text"]].every((part) => typeof part === "string");
}
