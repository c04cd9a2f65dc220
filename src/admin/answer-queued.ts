import { buildJson } from "./admin-answers.ts";
import { BadQuestion } from "./parameters.ts";
import type { WorkQueue } from "./work-queue.ts";

/** Seconds in `Retry-After` if too many questions wait. */
const BUSY_RETRY_SECONDS = 1;

/** Makes an answer after the earlier ones are made. A bad question gets 400 with the reason. */
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
