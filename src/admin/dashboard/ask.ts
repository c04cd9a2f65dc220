/** How long an answer may take, in milliseconds. A port forward may be slow, and a list large. */
const ANSWER_MAX_MS = 10_000;

/** The result of a question. */
export type Asked<T> =
  | { readonly kind: "answer"; readonly value: T }
  /** One sentence for the operator. */
  | { readonly kind: "fault"; readonly text: string };

/**
 * Asks the ingress that the page came from. Never rejects. `T` is the type of the answer of the page at `path`. Both
 * are from one build, and a page of another build says so (see `Dashboard`).
 */
export async function ask<T>(path: string, init: RequestInit & { readonly signal: AbortSignal }): Promise<Asked<T>> {
  try {
    const signal = AbortSignal.any([init.signal, AbortSignal.timeout(ANSWER_MAX_MS)]);
    const answer = await fetch(path, { ...init, signal });
    const text = await answer.text();
    if (answer.status === 401)
      return { kind: "fault", text: "The admin token is missing or was changed. Open /login." };
    if (!answer.ok) return { kind: "fault", text: `The ingress answers ${answer.status}: ${readError(text)}` };
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the build's own answer, see above
    return { kind: "answer", value: JSON.parse(text) as T };
  } catch {
    return { kind: "fault", text: "The ingress does not answer." };
  }
}

function readError(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && "error" in value) return String(value.error);
  } catch {
    // Plain text, as the gate answers.
  }
  return text.trim();
}
