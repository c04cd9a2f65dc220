import { X509Certificate } from "node:crypto";
import type { Clock } from "../clock.ts";
import {
  buildRequestCredentials,
  type Credentials,
  type KubeConfigSource,
  loadCredentials,
  type RequestCredentials,
} from "../kube/credentials.ts";
import { toKubeError } from "../kube/errors.ts";
import { isObject } from "../values.ts";
import type { Finding } from "./finding.ts";

/** Credentials that nothing renews and that end sooner than this are worth a warning: a week, in milliseconds. */
const EXPIRES_SOON_MS = 7 * 24 * 3_600_000;

/** Loads the credentials as the ingress does, runs an exec plugin too, and says when they end. */
export async function checkCredentials(source: KubeConfigSource, clock: Clock): Promise<Finding> {
  const name = "credentials";
  try {
    const credentials = loadCredentials(source);
    const request = await buildRequestCredentials(credentials);
    return { name, ...judge({ credentials, request }, clock.now()) };
  } catch (thrown) {
    return { name, state: "fail", detail: toKubeError(thrown).message, remedy: CREDENTIALS_REMEDY };
  }
}

/** What to do about credentials that are missing or not accepted. */
export const CREDENTIALS_REMEDY =
  "check --kubeconfig or KUBECONFIG; in a pod, set serviceAccountName and automountServiceAccountToken";

interface Loaded {
  readonly credentials: Credentials;
  readonly request: RequestCredentials;
}

function judge({ credentials, request }: Loaded, nowMs: number): Omit<Finding, "name"> {
  const { user, tokenFile } = credentials;
  const isRenewed = tokenFile !== undefined || (user.exec !== undefined && user.exec !== null);
  const how = isRenewed ? (tokenFile === undefined ? "exec plugin" : "token file") : describeKind(request);
  const server = describeServer(request.server);
  const detail = `${how} for ${server}`;
  if (how === "nothing") {
    const remedy = "give the context a user with a token, a client certificate or an exec plugin";
    return { state: "warn", detail: `no token or certificate for ${server}: requests are anonymous`, remedy };
  }
  const endsAtMs = Math.min(tokenEnd(request) ?? Infinity, certificateEnd(request) ?? Infinity);
  if (!Number.isFinite(endsAtMs)) return { state: "ok", detail };
  const ends = new Date(endsAtMs).toISOString().replace(".000Z", "Z");
  if (endsAtMs <= nowMs) {
    return { state: "fail", detail: `${detail}, ended ${ends}`, remedy: "get new credentials, or correct the clock" };
  }
  if (!isRenewed && endsAtMs - nowMs < EXPIRES_SOON_MS) {
    const remedy = "use a service account, a token file or an exec plugin, which are renewed";
    return { state: "warn", detail: `${detail}, ends ${ends}, and nothing renews it`, remedy };
  }
  return { state: "ok", detail: `${detail}, ends ${ends}` };
}

/** Without a user and password that an address may have. */
function describeServer(server: string): string {
  const { origin, pathname } = new URL(server);
  return origin + (pathname === "/" ? "" : pathname);
}

function describeKind({ headers, tls }: RequestCredentials): string {
  const authorization = headers["Authorization"] ?? "";
  if (authorization.startsWith("Bearer ")) return "token";
  if (authorization !== "") return "user name and password";
  return tls.cert === undefined ? "nothing" : "client certificate";
}

/** The time `exp` of a JSON Web Token (RFC 7519 §4.1.4); undefined for another token. */
function tokenEnd({ headers }: RequestCredentials): number | undefined {
  const [, payload] = /^Bearer [^.]+\.([^.]+)\.[^.]*$/.exec(headers["Authorization"] ?? "") ?? [];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
    const exp = isObject(claims) ? claims["exp"] : undefined;
    return typeof exp === "number" && Number.isFinite(exp) ? toTime(exp * 1000) : undefined;
  } catch {
    return undefined;
  }
}

function certificateEnd({ tls }: RequestCredentials): number | undefined {
  if (typeof tls.cert !== "string") return undefined;
  try {
    return toTime(Date.parse(new X509Certificate(tls.cert).validTo));
  } catch {
    // The request itself says what is wrong with it.
    return undefined;
  }
}

/** Undefined for what no date can hold (ECMA-262 §21.4.1.1). */
function toTime(ms: number): number | undefined {
  return Math.abs(ms) <= 8.64e15 ? ms : undefined;
}
