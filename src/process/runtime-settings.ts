/** Marks a program that has restarted itself. It is removed from the environment after reading. */
export const RESTART_MARKER = "OPENSANDBOX_INGRESS_RESTARTED";

type Environment = Readonly<Record<string, string | undefined>>;

/** What to do about the runtime's settings. */
export type RestartPlan =
  | { readonly kind: "continue" }
  /** Start again with this environment. */
  | { readonly kind: "restart"; readonly env: Readonly<Record<string, string>> }
  /** The program has already restarted, and these variables are still wrong. */
  | { readonly kind: "incomplete"; readonly names: readonly string[] };

/**
 * Variables that make the runtime print requests with their credentials, open an inspector, write profiles, or stop
 * verifying certificates: BUN_CONFIG_VERBOSE_FETCH, BUN_INSPECT, BUN_DEBUG_*, BUN_JSC_*, BUN_BE_BUN, NODE_OPTIONS,
 * NODE_DEBUG, NODE_TLS_REJECT_UNAUTHORIZED, MIMALLOC_VERBOSE, SSLKEYLOGFILE … They are matched by prefix, because every
 * version of the runtime has other ones.
 */
const REMOVED = /^(?:BUN_|NODE_|JSC_|MIMALLOC_|DEBUG$|SSLKEYLOGFILE$)/i;
/** Exceptions: harmless choices of an operator. */
const KEPT: ReadonlySet<string> = new Set(["NODE_EXTRA_CA_CERTS", "MIMALLOC_PURGE_DELAY"]);

/**
 * Bun reads these settings only at its own start, so the program restarts itself with them and keeps its process id:
 * - the number of simultaneous `fetch`es, 256 by default: quiet event streams would soon use all of them
 * - the lifetime of a DNS answer, 30 s by default: a sandbox that restarts behind its name gets a new address
 * - the size of a request's head, 16 KiB by default
 * - how long freed memory is kept for the next request, 10 ms by default: to get it back from the system takes 4 % of
 *   the time of a small request and 17 % of a megabyte's; the operator may choose this one
 * `BUN_OPTIONS` is replaced, not extended: nothing from outside may choose the runtime's options.
 */
function listSettings(env: Environment, maxHeaderBytes: number): Readonly<Record<string, string>> {
  return {
    BUN_CONFIG_MAX_HTTP_REQUESTS: "65535",
    BUN_CONFIG_DNS_TIME_TO_LIVE_SECONDS: "1",
    BUN_OPTIONS: `--max-http-header-size=${maxHeaderBytes}`,
    // Milliseconds: long enough to serve the next requests, short enough to free the memory after the last one.
    MIMALLOC_PURGE_DELAY: env["MIMALLOC_PURGE_DELAY"] ?? "1000",
  };
}

/**
 * Compares the environment with the program's needs. Pure. There is never a second restart: a runtime that removes a
 * setting from the environment after reading it would make the program restart for ever. The result is a warning and
 * not fatal: a missing variable does not prove that its setting is missing, and an ingress within the runtime's own
 * limits is better than no ingress.
 */
export function planRestart(env: Environment, options: { maxHeaderBytes: number; isRestarted: boolean }): RestartPlan {
  const settings = listSettings(env, options.maxHeaderBytes);
  const isUnwanted = (name: string) => REMOVED.test(name) && !KEPT.has(name) && !Object.hasOwn(settings, name);
  const unwanted = Object.keys(env).filter(isUnwanted);
  const missing = Object.keys(settings).filter((name) => env[name] !== settings[name]);
  if (missing.length === 0 && unwanted.length === 0) return { kind: "continue" };
  if (options.isRestarted) return { kind: "incomplete", names: [...missing, ...unwanted] };
  const next: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined && !isUnwanted(name)) next[name] = value;
  return { kind: "restart", env: { ...next, ...settings, [RESTART_MARKER]: "1" } };
}
