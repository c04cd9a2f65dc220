import type { EndpointRules } from "./endpoint-rules.ts";
import type { SandboxRecord, SandboxSleep } from "../provider.ts";
import { readPolicy } from "./annotations.ts";
import { isDnsLabel, isObject } from "../../values.ts";
import { quote } from "../../log/quote.ts";

/** How the projections of both kinds judge what they read. */
export interface ProjectOptions {
  readonly endpoints: EndpointRules;
  /** The namespace of an object that names none. Default: such an object has no usable identity. */
  readonly defaultNamespace?: string;
  /** The uid of an object that has none. Default: such an object has no usable identity. */
  readonly missingUid?: (namespace: string, name: string) => string;
  /** Returns an equal string, so that records share one copy (`SandboxTable.shareNamespace`). */
  readonly shareNamespace?: (namespace: string) => string;
}

/**
 * What a resource means to the ingress: a record, perhaps not ready, or undefined if the object has no usable identity.
 * `warning` is for the log: what is wrong with the object, without its name. Projections never throw.
 */
export type Projection =
  | { readonly record: SandboxRecord; readonly warning: string | undefined }
  | { readonly record: undefined; readonly warning: string }
  /** Nothing is wrong with the object. It is nobody's sandbox yet. */
  | { readonly record: undefined; readonly warning: undefined };

/** Resource → record, for one kind. */
export type Project = (object: unknown, options: ProjectOptions) => Projection;

/** An object's identity, and what both kinds have in their metadata. */
export interface SandboxMetadata {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Trimmed. Empty: the sandbox is open. */
  readonly accessToken: string;
  readonly annotations: Readonly<Record<string, unknown>>;
  /** Of any shape: whoever reads them has to check. */
  readonly labels: unknown;
  readonly ownerReferences: unknown;
  /**
   * What is wrong with an object that has an identity; undefined if nothing is. A sandbox with a fault must not be
   * ready.
   */
  readonly fault: string | undefined;
}

/** docs/contract.md §1: a non-empty value, trimmed, makes the sandbox secured. */
const ACCESS_TOKEN_ANNOTATION = "opensandbox.io/secure-access-token";

/** Kubernetes names: an RFC 1123 subdomain of at most 253 characters. */
const NAME_MAX_CHARS = 253;
/** A uid is a UUID of 36 characters. Other writers of manifests get some room. */
const UID_MAX_CHARS = 128;
/** In a text for a client: the reason of a condition is one word, at most this long. */
const REASON_MAX_CHARS = 64;
/** In a text for a client: longer messages of a condition are cut, so that a body stays one short line. */
const MESSAGE_MAX_CHARS = 256;

/** A part of a Kubernetes name; unlike a label, of any length. */
const NAME_PART = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

/** Whether a text can be the name of a custom resource (RFC 1123 subdomain, as Kubernetes checks it). */
export function isResourceName(text: string): boolean {
  if (text.length > NAME_MAX_CHARS) return false;
  return text.split(".").every((part) => NAME_PART.test(part));
}

/** Reads the identity of an object. A string says why the object has no usable identity. */
export function readMetadata(object: unknown, options: ProjectOptions): SandboxMetadata | string {
  const metadata = isObject(object) ? object["metadata"] : undefined;
  if (!isObject(metadata)) return "metadata is missing";
  const name = metadata["name"];
  if (typeof name !== "string" || !isResourceName(name)) return `metadata.name ${quote(name)} is not a Kubernetes name`;
  const namespace = metadata["namespace"] ?? options.defaultNamespace;
  if (typeof namespace !== "string" || !isDnsLabel(namespace)) {
    return `metadata.namespace ${quote(namespace)} is not a Kubernetes name`;
  }
  const uid = metadata["uid"] ?? options.missingUid?.(namespace, name);
  if (typeof uid !== "string" || uid === "" || uid.length > UID_MAX_CHARS) {
    return `metadata.uid ${quote(uid)} is not a string of 1 to ${UID_MAX_CHARS} characters`;
  }
  const annotations = metadata["annotations"] ?? NO_ANNOTATIONS;
  const token = isObject(annotations) ? (annotations[ACCESS_TOKEN_ANNOTATION] ?? "") : undefined;
  return {
    namespace: options.shareNamespace?.(namespace) ?? namespace,
    name,
    uid,
    accessToken: typeof token === "string" ? token.trim() : "",
    annotations: isObject(annotations) ? annotations : NO_ANNOTATIONS,
    labels: metadata["labels"],
    ownerReferences: metadata["ownerReferences"],
    // Whether the sandbox is secured is unknown. It must not be taken for an open one.
    fault:
      typeof token === "string"
        ? undefined
        : "the access token annotation is not a string, so it is unknown whether the sandbox is secured",
  };
}

const NO_ANNOTATIONS: Readonly<Record<string, unknown>> = Object.freeze({});

/** What an object says about where its sandbox listens. */
export interface EndpointReading {
  /** As `SandboxRecord.endpoint`. Empty: unknown or refused. */
  readonly endpoint: string;
  readonly ports: SandboxRecord["ports"];
  /** Why the endpoint is refused, for the log; undefined if it is valid or missing. */
  readonly refusal: string | undefined;
}

/** What an object says about its readiness. */
export interface ReadinessReading {
  /** Empty: ready. Else why not, for the client, as the text after `sandbox <id> `. */
  readonly notReady: string;
  /** What is malformed, for the log. */
  readonly fault: string | undefined;
  /** Default: the sandbox is not paused. */
  readonly sleep?: SandboxSleep | undefined;
}

/** Builds a record. Ready needs a ready status and an endpoint, because the two are written at different times. */
export function buildRecord(
  metadata: SandboxMetadata,
  reading: EndpointReading,
  options: {
    readonly readiness: ReadinessReading;
    readonly endpointMissing: string;
    readonly claim?: string | undefined;
  },
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
      ...(options.claim === undefined ? {} : { claim: options.claim }),
      // Only where it counts: most records are smaller without it.
      ...(reason === "" || options.readiness.sleep === undefined ? {} : { sleep: options.readiness.sleep }),
    },
    warning: fault === undefined || warning === undefined ? (fault ?? warning) : `${fault}; ${warning}`,
  };
}

/** The Go ingress's words for a resource that says why it is not ready (docs/contract.md §1). */
export function describeNotReady(reason: string, message: string): string {
  return message === "" ? `not ready (${reason})` : `not ready (${reason}: ${message})`;
}

/** One condition of a status. Its texts are fit for a client. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** The first condition of `type` in `status.conditions`; undefined if it is missing, for any shape of the status. */
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

/** A text of a resource as one short line for a client; empty if the value is not a string. */
export function publicText(value: unknown, maxChars = REASON_MAX_CHARS): string {
  if (typeof value !== "string") return "";
  // Cut before and after: the first cut bounds the work, the second the result.
  const line = value
    .slice(0, 4 * maxChars)
    .replaceAll(INVISIBLE, " ")
    .replaceAll(/ {2,}/g, " ")
    .trim();
  return (line.length > maxChars ? `${line.slice(0, maxChars - 1).trimEnd()}…` : line).toWellFormed();
}

/** Controls, line and paragraph separators, and format characters such as bidirectional overrides. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
