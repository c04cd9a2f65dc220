import { estimateShallowMemoryUsageOf } from "bun:jsc";

/**
 * Tells whether the whole body of an answer is here already, without touching it: such an answer can be passed on as it
 * came and keeps its length. To take the body out and to build a new answer costs a twelfth of a short request.
 *
 * Bun says it nowhere. But the memory that an answer takes is its URL, its reason phrase, what of its body is here, if
 * all of it is, and a fixed part. That part is learned from an answer whose body is known to be here; so should another
 * Bun count differently, nothing is passed on that is not whole: every answer is only taken the slower way.
 */
export class ArrivalGauge {
  #fixedBytes: number | undefined;

  /** What is left of the answer's memory when everything but a body of `length` bytes and the fixed part is deducted. */
  weigh(answer: Response, length: number): number {
    return estimateShallowMemoryUsageOf(answer) - answer.url.length - answer.statusText.length - length;
  }

  /** Whether an answer of this weight has its whole body. False until something has been learned. */
  isWhole(weight: number): boolean {
    return weight === this.#fixedBytes;
  }

  /** Learns from an answer that was weighed before its body turned out to be here. */
  learn(weight: number): void {
    this.#fixedBytes = weight;
  }
}
