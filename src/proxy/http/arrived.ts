import { estimateShallowMemoryUsageOf } from "bun:jsc";

/** The estimate for an answer without body, URL and reason phrase. */
const EMPTY_ANSWER_BYTES = estimateShallowMemoryUsageOf(new Response(""));

/**
 * Whether the body of an answer was whole when `fetch` returned the answer. Most small bodies arrive with their head.
 *
 * Bun has no other way to find out without a reader, which costs a short request a tenth of its time. Its estimate is
 * exact here: the answer itself, its URL, its reason phrase, and the bytes of a body that is whole. Of a body that is
 * still arriving it counts nothing. Returns false if the reason phrase is not ASCII, since its size then differs from
 * its length.
 * @param length Bytes of the whole body, above zero.
 */
export function isWhole(answer: Response, length: number): boolean {
  const { statusText } = answer;
  if (statusText !== "OK" && !/^[\x20-\x7e]*$/.test(statusText)) return false;
  const known = EMPTY_ANSWER_BYTES + answer.url.length + statusText.length;
  return estimateShallowMemoryUsageOf(answer) - known >= length;
}
