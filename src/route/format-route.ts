import type { RouteSignature } from "./route.ts";

/** The parts of a route besides its path. */
export interface RouteTarget {
  readonly sandboxId: string;
  /** 1–65535. */
  readonly port: number;
  /** Undefined for a plain route. */
  readonly signature: RouteSignature | undefined;
}

/**
 * The value of `OpenSandbox-Ingress-To`, and the first label of the host form (docs/contract.md §2). `isLabelSandboxId`
 * must accept the id; in the host form it must be lower case.
 */
export function formatLabelRoute(target: RouteTarget): string {
  const { sandboxId, port, signature } = target;
  const plain = `${sandboxId}-${port}`;
  return signature === undefined ? plain : `${plain}-${signature.expiresB36}-${signature.signature}`;
}

/** The URI form without the rest of the path: `/<id>/<port>[/<expires>/<signature>]`. */
export function formatUriRoute(target: RouteTarget): string {
  const { sandboxId, port, signature } = target;
  const plain = `/${sandboxId}/${port}`;
  return signature === undefined ? plain : `${plain}/${signature.expiresB36}/${signature.signature}`;
}
