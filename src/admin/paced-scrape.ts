import { type Clock, sleep } from "../clock.ts";

/**
 * Least time between two scrapes, in milliseconds. One takes about half a millisecond, thirty times as much as a short request,
 * and everybody on the pod network may ask. So all who ask take at most a hundredth of the time.
 */
export const SCRAPE_INTERVAL_MS = 100;

/** What is scraped. */
export interface ScrapeSource {
  readonly scrape: () => Promise<string>;
}

/**
 * Makes one scrape for all who ask within the interval. Nobody gets one that began before they asked; who asks too early waits
 * for the next.
 */
export function createPacedScrape({ scrape, clock }: ScrapeSource & { readonly clock: Clock }): ScrapeSource {
  let beganAtMs = Number.NEGATIVE_INFINITY;
  /** Has not begun yet. */
  let next: Promise<string> | undefined;

  const begin = (): Promise<string> => {
    next = undefined;
    beganAtMs = clock.monotonic();
    return scrape();
  };
  return {
    scrape() {
      if (next !== undefined) return next;
      const waitMs = beganAtMs + SCRAPE_INTERVAL_MS - clock.monotonic();
      if (waitMs <= 0) return begin();
      next = sleep(clock, waitMs).then(begin);
      return next;
    },
  };
}
