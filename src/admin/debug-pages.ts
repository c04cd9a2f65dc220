import type { Clock } from "../clock.ts";
import type { ProxyInspection } from "../proxy/inspection.ts";
import { buildJson } from "./admin-answers.ts";
import type { AdminPage, AdminQuery } from "./admin-page.ts";
import { BadQuestion } from "./parameters.ts";
import { listFailures, listRequests } from "./request-list.ts";
import type { SandboxList } from "./sandbox-list.ts";
import { readSandboxQuery } from "./sandbox-query.ts";
import { describeStatus, type StatusParts } from "./status.ts";
import { WorkQueue } from "./work-queue.ts";

/** Seconds in `Retry-After` where too many questions wait. */
const BUSY_RETRY_SECONDS = 1;

export interface DebugParts {
  readonly clock: Clock;
  readonly status: StatusParts;
  readonly sandboxes: SandboxList;
  readonly proxy: ProxyInspection;
}

/** The pages below `/debug/`, in JSON. Whoever serves them must let `AdminGate` judge the request before. */
export function createDebugPages(parts: DebugParts): readonly AdminPage[] {
  const { clock, proxy, sandboxes } = parts;
  const queue = new WorkQueue();
  const page = (path: string, title: string, make: (query: AdminQuery) => unknown): AdminPage => ({
    path,
    title,
    method: "GET",
    answer: (query) => answerQueued(queue, () => make(query)),
  });
  return [
    page("/debug/status", "what is going on, in numbers", () => describeStatus(parts.status)),
    page("/debug/sandboxes", "sandboxes; ?q, state, namespace, sort, order, limit, cursor", ({ url }) =>
      sandboxes.page(readSandboxQuery(url)),
    ),
    page("/debug/requests", "open requests, the oldest first; ?sandbox, limit", ({ url }) =>
      listRequests(url, proxy.exchanges(), clock),
    ),
    page("/debug/failures", "the last hundred failures", () => listFailures(proxy.failures())),
  ];
}

/** Makes an answer when those before it are made. What is asked wrongly gets 400 with the reason. */
export async function answerQueued(queue: WorkQueue, make: () => unknown): Promise<Response> {
  try {
    const made = queue.run(make);
    if (made !== undefined) return buildJson(await made);
    const busy = buildJson({ error: "too many questions at a time" }, 503);
    busy.headers.set("Retry-After", String(BUSY_RETRY_SECONDS));
    return busy;
  } catch (thrown) {
    if (!(thrown instanceof BadQuestion)) throw thrown;
    return buildJson({ error: thrown.message }, 400);
  }
}
