import { type Clock, sleep } from "../clock.ts";
import type { Explanation } from "../proxy/explain/explanation.ts";
import { type Question, toAskedRequest } from "../proxy/explain/question.ts";
import type { ProxyInspection } from "../proxy/inspection.ts";
import { buildJson } from "./admin-answers.ts";
import type { AdminPage } from "./admin-page.ts";
import { answerQueued } from "./answer-queued.ts";
import { isObject, messageOf } from "../values.ts";
import { BadQuestion } from "./parameters.ts";
import type { SandboxList, SandboxRow } from "./sandbox-list.ts";
import { WorkQueue } from "./work-queue.ts";

/** How long the question may take to arrive, in milliseconds. It is small, and a slow sender holds a connection. */
const QUESTION_MAX_MS = 10_000;
/** The most headers of the request that is asked about. `ADMIN_BODY_MAX_BYTES` limits the bytes. */
const HEADERS_MAX = 256;

/** An explanation in the form for clients: the sandbox is a row of the list. */
export interface ExplainAnswer extends Omit<Explanation, "record"> {
  readonly sandbox?: SandboxRow | undefined;
}

/**
 * `POST /debug/explain` with `{"url" or "route": text, "method"?: text, "headers"?: {name: value}}`. It is never
 * logged.
 */
export function createExplainPage(parts: {
  readonly clock: Clock;
  readonly proxy: ProxyInspection;
  readonly sandboxes: SandboxList;
}): AdminPage {
  const queue = new WorkQueue();
  return {
    path: "/debug/explain",
    title: "POST: what would happen to a request, step by step",
    method: "POST",
    async answer({ request, peer }) {
      // A form on another web page can neither send this type nor ask for permission to.
      if (!/^application\/json\b/i.test(request.headers.get("content-type") ?? "")) {
        return buildJson({ error: "expected Content-Type: application/json" }, 415);
      }
      const text = await Promise.race([request.text().catch(() => undefined), sleep(parts.clock, QUESTION_MAX_MS)]);
      if (typeof text !== "string") return buildJson({ error: "the question did not arrive" }, 408);
      return answerQueued(queue, async () => {
        const explanation = await parts.proxy.explain(readQuestion(text), peer);
        return toExplainAnswer(explanation, parts.sandboxes);
      });
    },
  };
}

/** Leaves out the record, which holds the token. */
export function toExplainAnswer({ record, ...rest }: Explanation, sandboxes: SandboxList): ExplainAnswer {
  return { ...rest, sandbox: record === undefined ? undefined : sandboxes.row(record) };
}

/** Throws BadQuestion, which repeats nothing of the text. */
function readQuestion(text: string) {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadQuestion("the question is not JSON");
  }
  if (!isObject(value)) throw new BadQuestion("the question is not an object");
  const { url, route, method = "GET", headers = {} } = value;
  const targets = [url, route].filter((target) => target !== undefined);
  const [target] = targets;
  if (targets.length !== 1 || typeof target !== "string" || target.trim() === "") {
    throw new BadQuestion("expected either url or route, as a string");
  }
  if (typeof method !== "string" || !/^[A-Za-z]{1,32}$/.test(method))
    throw new BadQuestion("method is not a method of HTTP");
  try {
    return toAskedRequest({ method, target, headers: readHeaders(headers) });
  } catch (error) {
    if (error instanceof BadQuestion) throw error;
    throw new BadQuestion(messageOf(error));
  }
}

function readHeaders(headers: unknown): Question["headers"] {
  if (!isObject(headers)) throw new BadQuestion("headers is not an object of names and values");
  const fields = Object.entries(headers).flatMap(([name, value]) => {
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    return values.map((each): readonly [string, string] => {
      if (typeof each !== "string") throw new BadQuestion("the value of a header is not a string");
      return [name, each];
    });
  });
  if (fields.length > HEADERS_MAX) throw new BadQuestion(`headers has more than ${HEADERS_MAX} fields`);
  return fields;
}
