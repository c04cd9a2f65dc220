import type { Clock } from "../clock.ts";
import type { ProxyInspection } from "../proxy/inspection.ts";
import type { AdminPage, AdminQuery } from "./admin-page.ts";
import { answerQueued } from "./answer-queued.ts";
import { createExplainPage } from "./explain-page.ts";
import { listFailures, listRequests } from "./request-list.ts";
import type { SandboxList } from "./sandbox-list.ts";
import { readSandboxQuery } from "./sandbox-query.ts";
import { SharedAnswers } from "./shared-answers.ts";
import { describeStatus, type StatusParts } from "./status.ts";
import { WorkQueue } from "./work-queue.ts";

export interface DebugParts {
  readonly clock: Clock;
  readonly status: StatusParts;
  readonly sandboxes: SandboxList;
  readonly proxy: ProxyInspection;
}

/** The pages below `/debug/`, in JSON. `AdminGate` must judge each request before it gets here. */
export function createDebugPages(parts: DebugParts): readonly AdminPage[] {
  const { clock, proxy, sandboxes } = parts;
  const queue = new WorkQueue();
  const shared = new SharedAnswers(clock);
  const page = (path: string, title: string, make: (query: AdminQuery) => unknown): AdminPage => ({
    path,
    title,
    method: "GET",
    answer: (query) => shared.answer(query, () => answerQueued(queue, () => make(query))),
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
    createExplainPage(parts),
  ];
}
