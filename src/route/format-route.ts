import type { RouteSignature } from "./route.ts";

/** What a route says besides its path: the parts to write down. */
export interface RouteTarget {
  readonly sandboxId: string;
  /** 1–65535. */
  readonly port: number;
  /** Undefined: a plain route. */
  readonly signature: RouteSignature | undefined;
}

/**
 * The value of `OpenSandbox-Ingress-To`, and the first label of the host form (docs/contract.md §2). The id must be
 * one that
 * `isLabelSandboxId` accepts, and lower-case for the host form.
 */
export function formatLabelRoute(target: RouteTarget): string {
  const { sandboxId, port, signature } = target;
  const plain = `${sandboxId}-${port}`;
  return signature === undefined ? plain : `${plain}-${signature.expiresB36}-${signature.signature}`;
}

/** The URI form without what follows it: `/<id>/<port>[/<expires>/<signature>]`. */
export function formatUriRoute(target: RouteTarget): string {
  const { sandboxId, port, signature } = target;
  const plain = `/${sandboxId}/${port}`;
  return signature === undefined ? plain : `${plain}/${signature.expiresB36}/${signature.signature}`;
}
