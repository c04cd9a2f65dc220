import type { Clock } from "../clock.ts";
import type { KubeWriter } from "../kube/client.ts";
import { type KubeErrorKind, toKubeError } from "../kube/errors.ts";
import { requestJson } from "../kube/request-json.ts";
import { CREDENTIALS_REMEDY } from "./credentials.ts";
import type { Finding } from "./finding.ts";

/**
 * Largest difference between the clocks of this machine and the API server, in milliseconds. Signed links end by this
 * machine's clock, and renew intents are compared with OpenSandbox's; both bear a few seconds.
 */
export const CLOCK_SKEW_MAX_MS = 5_000;
/** `Date` has whole seconds (RFC 9110 §5.6.7). */
const DATE_STEP_MS = 1_000;

/** Asks for the API server's version, and compares its clock. */
export async function checkApiServer(
  api: KubeWriter,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<{ readonly server: Finding; readonly clock?: Finding }> {
  const name = "api-server";
  let sentAtMs = clock.now();
  const onSend = () => (sentAtMs = clock.now());
  try {
    const { json, headers } = await requestJson(api, { path: "/version", signal, onSend });
    const version = typeof json["gitVersion"] === "string" ? json["gitVersion"] : "of unknown version";
    return {
      server: { name, state: "ok", detail: `Kubernetes ${version}` },
      clock: judgeClock(headers.get("date"), { sentAtMs, receivedAtMs: clock.now() }),
    };
  } catch (thrown) {
    const { kind, message } = toKubeError(thrown);
    return { server: { name, state: "fail", detail: message, remedy: remedyFor(kind) } };
  }
}

/** What to do about a request that the API server did not answer. */
export function remedyFor(kind: KubeErrorKind): string {
  switch (kind) {
    case "credentials":
    case "unauthorized":
      return CREDENTIALS_REMEDY;
    case "unreachable":
    case "silent":
      return "check the address, network policies, proxies (HTTPS_PROXY, NO_PROXY) and the certificate authority";
    case "forbidden":
      return "bind system:discovery and system:basic-user to the account, as Kubernetes does by default";
    default:
      return "check that the address is an API server's, and that server's own log";
  }
}

/** @param at Wall-clock milliseconds between which the server wrote its date. */
export function judgeClock(
  date: string | null,
  { sentAtMs, receivedAtMs }: { readonly sentAtMs: number; readonly receivedAtMs: number },
): Finding {
  const name = "clock";
  const dateMs = Date.parse(date ?? "");
  if (Number.isNaN(dateMs)) {
    return { name, state: "warn", detail: "the API server does not tell its time", remedy: "compare clocks by hand" };
  }
  // The server's time is within [dateMs, dateMs + 1 s), and was read between sending and receiving.
  const aheadMs = sentAtMs - (dateMs + DATE_STEP_MS);
  const behindMs = dateMs - receivedAtMs;
  const leastMs = Math.max(0, aheadMs, behindMs);
  if (leastMs <= CLOCK_SKEW_MAX_MS) {
    return { name, state: "ok", detail: `within ${Math.max(1, Math.ceil(leastMs / 1000))} s of the API server's` };
  }
  const side = aheadMs > behindMs ? "ahead of" : "behind";
  const detail = `${Math.floor(leastMs / 1000)} s ${side} the API server's`;
  return { name, state: "fail", detail, remedy: "synchronize the clocks (NTP): signed links end by this one" };
}
