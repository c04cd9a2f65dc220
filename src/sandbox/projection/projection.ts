import type { EndpointRules } from "./endpoint-rules.ts";
import type { SandboxRecord } from "../provider.ts";
import { readPolicy } from "./annotations.ts";

/** How the projections of both kinds judge what they read. */
export interface ProjectOptions {
  readonly endpoints: EndpointRules;
  /** The namespace of an object that names none. Default: such an object has no usable identity. */
  readonly defaultNamespace?: string;
  /** The uid of an object that carries none. Default: such an object has no usable identity. */
  readonly missingUid?: (namespace: string, name: string) => string;
  /** Gives an equal string, to keep one copy of what many records share (`SandboxTable.shareNamespace`). */
  readonly shareNamespace?: (namespace: string) => string;
}

/**
 * What a resource is to the ingress: a record, which can be not ready, or nothing where the object says not even who
 * it is. `warning` is for the log: what is wrong with the object, without its name. Projections never throw.
 */
export type Projection =
  | { readonly record: SandboxRecord; readonly warning: string | undefined }
  | { readonly record: undefined; readonly warning: string };

/** Resource → record, for one kind. */
export type Project = (object: unknown, options: ProjectOptions) => Projection;

/** Who an object is, and what both kinds carry in their metadata. */
export interface SandboxMetadata {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Trimmed; empty: the sandbox is open. */
  readonly accessToken: string;
  readonly annotations: Readonly<Record<string, unknown>>;
  /** What is wrong although the object can be identified; undefined: nothing. Then the sandbox must not be ready. */
  readonly fault: string | undefined;
}

/** docs/contract.md §1: a non-empty value, trimmed, makes the sandbox a secured one. */
const ACCESS_TOKEN_ANNOTATION = "opensandbox.io/secure-access-token";

/** Kubernetes names: an RFC 1123 subdomain of at most 253 characters. */
const NAME_MAX_CHARS = 253;
/** Kubernetes namespaces: an RFC 1123 label (§2.1) of at most 63 characters. */
const LABEL_MAX_CHARS = 63;
/** A uid is a UUID of 36 characters; some room for other writers of manifests. */
const UID_MAX_CHARS = 128;
/** In a text for a client: a condition's reason is one word, at most so long. */
const REASON_MAX_CHARS = 64;
/** In a text for a client: a message of a condition is cut here, so that a body stays one short line. */
const MESSAGE_MAX_CHARS = 256;
/** Of a value that is shown in the log: enough to recognise it. */
const QUOTED_MAX_CHARS = 80;

const LABEL = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

/** Whether a text is an RFC 1123 label as Kubernetes wants it: lower case, at most 63 characters. */
export function isDnsLabel(text: string): boolean {
  return text.length <= LABEL_MAX_CHARS && LABEL.test(text);
}

/** Whether a text can be the name of a custom resource (RFC 1123 subdomain, as Kubernetes checks it). */
export function isResourceName(text: string): boolean {
  if (text.length > NAME_MAX_CHARS) return false;
  return text.split(".").every((label) => LABEL.test(label));
}

/** A JSON object; arrays are none. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads what identifies an object; a text is the reason why it has no usable identity. */
export function readMetadata(object: unknown, options: ProjectOptions): SandboxMetadata | string {
  const metadata = isObject(object) ? object["metadata"] : undefined;
  if (!isObject(metadata)) return "the object has no metadata";
  const name = metadata["name"];
  if (typeof name !== "string" || !isResourceName(name)) return `metadata.name ${quote(name)} is no Kubernetes name`;
  const namespace = metadata["namespace"] ?? options.defaultNamespace;
  if (typeof namespace !== "string" || !isDnsLabel(namespace)) {
    return `metadata.namespace ${quote(namespace)} is no Kubernetes name`;
  }
  const uid = metadata["uid"] ?? options.missingUid?.(namespace, name);
  if (typeof uid !== "string" || uid === "" || uid.length > UID_MAX_CHARS) {
    return `metadata.uid ${quote(uid)} is no text of 1 to ${UID_MAX_CHARS} characters`;
  }
  const annotations = metadata["annotations"] ?? NO_ANNOTATIONS;
  const token = isObject(annotations) ? (annotations[ACCESS_TOKEN_ANNOTATION] ?? "") : undefined;
  return {
    namespace: options.shareNamespace?.(namespace) ?? namespace,
    name,
    uid,
    accessToken: typeof token === "string" ? token.trim() : "",
    annotations: isObject(annotations) ? annotations : NO_ANNOTATIONS,
    // Whether it is secured cannot be told, and open is the one thing that must not be assumed.
    fault: typeof token === "string" ? undefined : `metadata.annotations are not texts, so access cannot be judged`,
  };
}

const NO_ANNOTATIONS: Readonly<Record<string, unknown>> = Object.freeze({});

/** What an object says of where its sandbox listens. */
export interface EndpointReading {
  /** As `SandboxRecord.endpoint`; empty: none is known, or it is refused. */
  readonly endpoint: string;
  readonly ports: SandboxRecord["ports"];
  /** Why what the object names is no endpoint, for the log; undefined: it is one, or the object names none. */
  readonly refusal: string | undefined;
}

/** What an object says of its readiness. */
export interface ReadinessReading {
  /** Empty: ready. Else why not, after `sandbox <id> `, for the client. */
  readonly notReady: string;
  /** What is malformed, for the log. */
  readonly fault: string | undefined;
}

/** Puts a record together: ready needs the object's word and an endpoint, since the two are written at different times. */
export function buildRecord(
  metadata: SandboxMetadata,
  reading: EndpointReading,
  options: { readonly readiness: ReadinessReading; readonly endpointMissing: string },
): Projection {
  const fault = metadata.fault ?? reading.refusal ?? options.readiness.fault;
  const { policy, warning } = readPolicy(metadata.annotations);
  let reason = options.readiness.notReady;
  if (metadata.fault !== undefined) reason = "has invalid metadata";
  else if (reading.refusal !== undefined) reason = "has no usable endpoint";
  else if (reason === "" && reading.endpoint === "") reason = options.endpointMissing;
  return {
    record: {
      namespace: metadata.namespace,
      name: metadata.name,
      uid: metadata.uid,
      endpoint: reading.endpoint,
      ports: reading.ports,
      ready: reason === "",
      notReady: reason === "" ? "" : `sandbox not ready: sandbox ${metadata.name} ${reason}`,
      accessToken: metadata.accessToken,
      policy,
    },
    warning: fault === undefined || warning === undefined ? (fault ?? warning) : `${fault}; ${warning}`,
  };
}

/** The Go ingress's words for a resource that says why it is not ready (docs/contract.md §1). */
export function describeNotReady(reason: string, message: string): string {
  return message === "" ? `not ready (${reason})` : `not ready (${reason}: ${message})`;
}

/** One condition of a status, its texts fit for a client. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** The first condition of `type` in `status.conditions`; undefined where there is none, whatever shape it has. */
export function findCondition(status: Readonly<Record<string, unknown>>, type: string): Condition | undefined {
  const conditions: unknown = status["conditions"];
  if (!Array.isArray(conditions)) return undefined;
  const items: readonly unknown[] = conditions;
  for (const item of items) {
    if (!isObject(item) || item["type"] !== type) continue;
    return {
      type,
      status: publicText(item["status"], REASON_MAX_CHARS),
      reason: publicText(item["reason"], REASON_MAX_CHARS),
      message: publicText(item["message"], MESSAGE_MAX_CHARS),
    };
  }
  return undefined;
}

/** A text of a resource as one short line for a client's eyes; empty for what is no text. */
export function publicText(value: unknown, maxChars = REASON_MAX_CHARS): string {
  if (typeof value !== "string") return "";
  // Cut before and after: the first bounds the work, the second the result.
  const line = value
    .slice(0, 4 * maxChars)
    .replaceAll(INVISIBLE, " ")
    .replaceAll(/ {2,}/g, " ")
    .trim();
  return (line.length > maxChars ? `${line.slice(0, maxChars - 1).trimEnd()}…` : line).toWellFormed();
}

/** Controls, line and paragraph separators, and format characters such as bidirectional overrides. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A value of a resource as it is shown in the log: quoted, short, one line. */
export function quote(value: unknown): string {
  if (value === undefined) return "(missing)";
  if (typeof value === "string") {
    return JSON.stringify(value.length > QUOTED_MAX_CHARS ? `${value.slice(0, QUOTED_MAX_CHARS)}…` : value);
  }
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  return Array.isArray(value) ? "(an array)" : "(an object)";
}
