/** Tells the program that it has been started by itself; taken out of the environment where it is read. */
export const RESTART_MARKER = "OPENSANDBOX_INGRESS_RESTARTED";

type Environment = Readonly<Record<string, string | undefined>>;

/** What is to be done about the runtime's settings. */
export type RestartPlan =
  | { readonly kind: "go-on" }
  /** Start again with this environment. */
  | { readonly kind: "restart"; readonly env: Readonly<Record<string, string>> }
  /** The program has been started again already, and these are still not as they should be. */
  | { readonly kind: "incomplete"; readonly names: readonly string[] };

/**
 * Variables by which the runtime prints requests with their credentials, opens an inspector, writes profiles, or stops verifying
 * certificates: BUN_CONFIG_VERBOSE_FETCH, BUN_INSPECT, BUN_DEBUG_*, BUN_JSC_*, BUN_BE_BUN, NODE_OPTIONS, NODE_DEBUG,
 * NODE_TLS_REJECT_UNAUTHORIZED, MIMALLOC_VERBOSE, SSLKEYLOGFILE … By prefix, since every version of the runtime has others.
 */
const REMOVED = /^(?:BUN_|NODE_|JSC_|MIMALLOC_|DEBUG$|SSLKEYLOGFILE$)/i;
/** What stays of these: an operator's choice that shows nothing. */
const KEPT: ReadonlySet<string> = new Set(["NODE_EXTRA_CA_CERTS", "MIMALLOC_PURGE_DELAY"]);

/**
 * Bun reads these settings once, at its own start, so the program starts itself again with them, keeping its process id:
 * - the number of simultaneous `fetch`es, 256 by default: quiet event streams would soon hold them all;
 * - the life of a DNS answer, 30 s by default: a sandbox that restarts behind its name changes address;
 * - the size of a request's head, 16 KiB by default;
 * - how long freed memory is kept for the next request before the system has it back, 10 ms by default: faulting it in
 *   again is 4 % of a small request and 17 % of a megabyte. This one the operator may choose.
 * `BUN_OPTIONS` is replaced, not extended: nothing from outside gets to choose the runtime's options.
 */
function listSettings(env: Environment, maxHeaderBytes: number): Readonly<Record<string, string>> {
  return {
    BUN_CONFIG_MAX_HTTP_REQUESTS: "65535",
    BUN_CONFIG_DNS_TIME_TO_LIVE_SECONDS: "1",
    BUN_OPTIONS: `--max-http-header-size=${maxHeaderBytes}`,
    // Milliseconds: long enough to serve the next requests, short enough to be gone when they stop.
    MIMALLOC_PURGE_DELAY: env["MIMALLOC_PURGE_DELAY"] ?? "1000",
  };
}

/**
 * Compares the environment with what the program needs. Pure. After one restart there is never another: a runtime that takes a
 * setting out of the environment when it has read it would make the program start itself for ever. That is told and not
 * fatal: a variable that is missing does not prove that its setting is, and an ingress that serves within the
 * runtime's own limits is better than none.
 */
export function planRestart(env: Environment, options: { maxHeaderBytes: number; isRestarted: boolean }): RestartPlan {
  const settings = listSettings(env, options.maxHeaderBytes);
  const isUnwanted = (name: string) => REMOVED.test(name) && !KEPT.has(name) && !Object.hasOwn(settings, name);
  const unwanted = Object.keys(env).filter(isUnwanted);
  const missing = Object.keys(settings).filter((name) => env[name] !== settings[name]);
  if (missing.length === 0 && unwanted.length === 0) return { kind: "go-on" };
  if (options.isRestarted) return { kind: "incomplete", names: [...missing, ...unwanted] };
  const next: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined && !isUnwanted(name)) next[name] = value;
  return { kind: "restart", env: { ...next, ...settings, [RESTART_MARKER]: "1" } };
}
