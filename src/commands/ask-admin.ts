import { faultTextOf } from "../config/text.ts";
import { isObject } from "../values.ts";

/** Time for one answer, in milliseconds. It is longer than any wait inside an explanation. */
const ANSWER_MAX_MS = 30_000;
/** The longest answer, in bytes: a page of the list is under 1 MB. */
const ANSWER_MAX_BYTES = 8 * 1024 * 1024;
/** How often a busy ingress is asked again, and the milliseconds in between. */
const BUSY_RETRIES = 5;
const BUSY_PAUSE_MS = 1_000;
/** The hint if nothing answers, for commands that can read sandboxes themselves. */
const LOOK_HINT = "--admin names its address; with --manifests or --kubeconfig no running ingress is needed";

export interface AdminQuestion {
  readonly admin: URL;
  readonly token: string | undefined;
  /** Begins with `/`; may have a query. */
  readonly path: string;
  /** Sent as JSON with POST; missing: the request is a GET. */
  readonly body?: unknown;
}

/** Asks the admin port of a running ingress. Throws an Error in plain words, without the token. */
export async function askAdmin(question: AdminQuestion): Promise<unknown> {
  for (let retry = 0; ; retry++) {
    const answer = await sendToAdmin(question, LOOK_HINT);
    if (answer.status === 503 && retry < BUSY_RETRIES) {
      await answer.body?.cancel();
      await Bun.sleep(BUSY_PAUSE_MS);
      continue;
    }
    const text = await readAdminText(answer);
    if (answer.status === 200) return parseJson(text);
    throw new Error(describeRefusal(answer.status, text));
  }
}

/** Sends one question. Throws an Error in plain words, with `hint`, if no answer begins. */
export async function sendToAdmin({ admin, token, path, body }: AdminQuestion, hint: string): Promise<Response> {
  const url = admin.origin + admin.pathname.replace(/\/$/, "") + path;
  try {
    return await fetch(url, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      // Only the ingress may get the token and the question.
      redirect: "error",
      proxy: false,
      signal: AbortSignal.timeout(ANSWER_MAX_MS),
    });
  } catch (error) {
    throw new Error(`Cannot ask the ingress at ${admin.origin}: ${faultTextOf(error)} (${hint})`, { cause: error });
  }
}

/** The text of an answer. Throws an Error if it is too long. */
export async function readAdminText(answer: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  const chunks: AsyncIterable<Uint8Array> | readonly Uint8Array[] = answer.body ?? [];
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_MAX_BYTES) throw new Error("The answer of the ingress is too long");
  }
  return text;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("The answer is not JSON: is this the admin port of an ingress?");
  }
}

function describeRefusal(status: number, text: string): string {
  const [line = ""] = (errorTextOf(text) ?? text).split("\n");
  if (status === 401) return `The ingress refused (401): ${line}; give --admin-token-file`;
  return `The ingress refused (${status}): ${line}`;
}

/** The pages for programs refuse with `{"error": text}`; undefined: the answer is something else. */
function errorTextOf(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && typeof value["error"] === "string" ? value["error"] : undefined;
  } catch {
    return undefined;
  }
}
