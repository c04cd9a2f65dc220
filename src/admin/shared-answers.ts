import type { Clock } from "../clock.ts";
import type { AdminQuery } from "./admin-page.ts";

/** How long an answer may be shared, in milliseconds: as long as the interval at which a dashboard asks. */
const SHARED_MS = 1_000;
/** How many answers are kept at a time, of about 300 KB at most. Operators look at different pages of the list. */
const SHARED_MAX = 32;
/** A longer question is answered, but its answer is not kept. */
const KEY_MAX_CHARS = 2_048;

interface Kept {
  readonly text: string;
  readonly status: number;
  readonly headers: Headers;
}

/**
 * Shares one answer among all clients that ask the same within a second, so that many open dashboards cost as much as
 * one. Only a client that accepts an older answer gets one (`Cache-Control: max-age`, RFC 9111 §5.2.1.1).
 */
export class SharedAnswers {
  readonly #clock: Clock;
  readonly #kept = new Map<string, Promise<Kept>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async answer({ request, url }: AdminQuery, make: () => Promise<Response>): Promise<Response> {
    const key = url.pathname + url.search;
    if (!takesOlder(request) || key.length > KEY_MAX_CHARS) return make();
    const kept = this.#kept.get(key);
    if (kept !== undefined) return copy(await kept);
    if (this.#kept.size >= SHARED_MAX) return make();
    const made = make().then(keep);
    this.#kept.set(key, made);
    const forget = () => this.#kept.delete(key);
    made.then(() => this.#clock.setTimer(SHARED_MS, forget), forget);
    return copy(await made);
  }
}

async function keep(answer: Response): Promise<Kept> {
  return { text: await answer.text(), status: answer.status, headers: answer.headers };
}

function copy({ text, status, headers }: Kept): Response {
  return new Response(text, { status, headers });
}

function takesOlder({ headers }: Request): boolean {
  const [, seconds = "0"] = /(?:^|[\s,])max-age=(\d{1,9})\b/i.exec(headers.get("cache-control") ?? "") ?? [];
  return Number(seconds) * 1_000 >= SHARED_MS;
}
