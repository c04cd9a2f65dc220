import type { KubeResource } from "./resource.ts";
import { codeOf, isObject, messageOf } from "../values.ts";

/**
 * What failed between the ingress and the API server. The kind decides what happens next.
 * - `credentials`: missing or unreadable
 * - `unreachable`: no connection, no TLS, or a broken connection
 * - `unauthorized` 401, `forbidden` 403, `missing` 404, `conflict` 409, `expired` 410, `throttled` 429, `refused` any other 4xx or 3xx
 * - `ahead` 504 with the cause "ResourceVersionTooLarge": the server has not reached the requested version
 * - `server`: any other 5xx
 * - `protocol`: an invalid answer: not JSON, too large, or out of order
 * - `silent`: an answer that began and then sent no byte for too long
 */
export type KubeErrorKind =
  | "credentials"
  | "unreachable"
  | "unauthorized"
  | "forbidden"
  | "missing"
  | "conflict"
  | "expired"
  | "throttled"
  | "ahead"
  | "refused"
  | "server"
  | "protocol"
  | "silent";

/** A failed request to the API server. Its message contains no secret. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly kind: KubeErrorKind;
  /** From `Retry-After`, in milliseconds; undefined if the server named no time. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: KubeErrorKind, message: string, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Largest body of a refusal, in bytes: a `Status` object has a few hundred. */
const STATUS_MAX_BYTES = 64 * 1024;
/** Maximum number of characters of a server's message in a log line. */
const MESSAGE_MAX_LENGTH = 300;

/** The error for an answer that is not 2xx. Reads the body. */
export async function readKubeError(response: Response): Promise<KubeError> {
  const text = await readStart(response);
  const retryAfterMs = parseRetryAfter(response.headers.get("Retry-After"));
  const status = parseStatus(text);
  const said = shorten(typeof status["message"] === "string" ? status["message"] : text);
  // Go's own answer to an unknown path already begins with the status.
  const message = said.startsWith(`${response.status} `) ? said : `${response.status} ${said}`.trim();
  const kind = isTooLargeVersion(status) ? "ahead" : kindOfStatus(response.status);
  return new KubeError(kind, message, retryAfterMs === undefined ? {} : { retryAfterMs });
}

/** The error in an ERROR event of a watch, whose object is a `Status`. */
export function buildStatusError(status: unknown): KubeError {
  if (!isObject(status) || typeof status["code"] !== "number") {
    return new KubeError("protocol", "an ERROR event has no status");
  }
  const message = typeof status["message"] === "string" ? status["message"] : String(status["reason"]);
  const details = isObject(status["details"]) ? status["details"] : {};
  const seconds = details["retryAfterSeconds"];
  return new KubeError(
    isTooLargeVersion(status) ? "ahead" : kindOfStatus(status["code"]),
    shorten(`${status["code"]} ${message}`),
    typeof seconds === "number" && seconds > 0 ? { retryAfterMs: seconds * 1000 } : {},
  );
}

/** Converts any thrown value to a KubeError. Other errors are failed connections. */
export function toKubeError(thrown: unknown): KubeError {
  if (thrown instanceof KubeError) return thrown;
  const message = messageOf(thrown).replace(FETCH_ADVICE, "");
  const code = codeOf(thrown);
  const isTold = code === "" || message.startsWith(code);
  return new KubeError("unreachable", shorten(isTold ? message : `${code}: ${message}`), { cause: thrown });
}

/** Advice for programmers that Bun's fetch adds to its messages. */
const FETCH_ADVICE = /(\. For more information, pass `verbose: true`.*| Is the computer able to access the url\?)$/;

/** The first line of a text, cut to a length that fits a log line. */
export function shorten(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  return line.length > MESSAGE_MAX_LENGTH ? `${line.slice(0, MESSAGE_MAX_LENGTH)}…` : line;
}

/** Describes a fault in one line: what was tried, what happened, and what to do. */
export function explainFault(error: KubeError, verb: string, resource: KubeResource): string {
  const what = `${resource.plural}.${resource.group}`;
  const where = resource.namespace === undefined ? "in all namespaces" : `in namespace "${resource.namespace}"`;
  return `Kubernetes: cannot ${verb} ${what} ${where}: ${adviseOn(error, verb, resource)}`;
}

function adviseOn(error: KubeError, verb: string, { plural, group, version, namespace }: KubeResource): string {
  switch (error.kind) {
    case "credentials":
      return `the credentials are not usable: ${error.message}`;
    case "unauthorized":
      return `the API server does not accept the credentials (${error.message}): check the token, client certificate or exec plugin in use`;
    case "forbidden": {
      const role = namespace === undefined ? "a ClusterRole" : `a Role in namespace "${namespace}"`;
      return `permission denied: grant ${verb === "patch" ? "get and patch" : "get, list and watch"} on ${plural} (API group ${group}) by ${role} and its binding (${error.message})`;
    }
    case "missing":
      return `the API server does not know this resource type: install the CustomResourceDefinition ${plural}.${group}${version === "" ? "" : ` with version ${version}`} (${error.message})`;
    case "unreachable":
      return `no connection to the API server: ${error.message}`;
    case "silent":
    case "protocol":
    case "expired":
      return error.message;
    case "throttled":
    case "ahead":
    case "conflict":
    case "refused":
    case "server":
      return `the API server answered ${error.message}`;
    default:
      return error.kind satisfies never;
  }
}

function kindOfStatus(status: number): KubeErrorKind {
  switch (status) {
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "missing";
    case 409:
      return "conflict";
    case 410:
      return "expired";
    case 429:
      return "throttled";
    default:
      return status >= 500 ? "server" : "refused";
  }
}

/** RFC 9110 §10.2.3. API servers send seconds, never a date. */
function parseRetryAfter(value: string | null): number | undefined {
  return value !== null && /^\d{1,6}$/.test(value.trim()) ? Number(value) * 1000 : undefined;
}

async function readStart(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  const body: AsyncIterable<Uint8Array> | null = response.body;
  if (body === null) return "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    bytes += chunk.length;
    if (bytes > STATUS_MAX_BYTES) break; // This cancels the body.
  }
  return text;
}

/** A `Status`, or an empty object for anything else: a load balancer's page, or `404 page not found`. */
function parseStatus(text: string): Readonly<Record<string, unknown>> {
  try {
    const status: unknown = JSON.parse(text);
    return isObject(status) ? status : {};
  } catch {
    return {};
  }
}

/** As client-go's `isTooLargeResourceVersionError`. Servers before 1.17 name no cause. */
function isTooLargeVersion({ code, message, details }: Readonly<Record<string, unknown>>): boolean {
  if (code !== 504) return false;
  const causes: unknown = isObject(details) ? details["causes"] : undefined;
  const list: readonly unknown[] = Array.isArray(causes) ? causes : [];
  const isCause = (cause: unknown) => isObject(cause) && cause["reason"] === "ResourceVersionTooLarge";
  return list.some(isCause) || (typeof message === "string" && message.includes("Too large resource version"));
}
