import type { IngressErrorCode } from "../../errors.ts";
import type { Route, RouteForm } from "../../route/route.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";
import { describeExpiry } from "./step-texts.ts";
import type { ExplainStep } from "./steps.ts";
import type { ExplainedWait } from "./waits.ts";

/** What would happen to a request. */
export interface Explanation {
  /** Whether it would be forwarded, at once or after a wait. */
  readonly forwarded: boolean;
  /** Missing: it would not wait. */
  readonly wait?: ExplainedWait | undefined;
  /** The status and code of the refusal; missing if the request would be forwarded. */
  readonly status?: number | undefined;
  readonly code?: IngressErrorCode | undefined;
  readonly steps: readonly ExplainStep[];
  readonly route?: ExplainedRoute | undefined;
  /** Must not be shown as it is, since it holds the token. */
  readonly record?: SandboxRecord | undefined;
  /** Names that are similar to one that does not exist. */
  readonly nearest?: readonly string[] | undefined;
}

export interface ExplainedRoute {
  readonly form: RouteForm;
  readonly sandboxId: string;
  readonly port: number;
  readonly signed: boolean;
  /** RFC 3339. */
  readonly expires?: string | undefined;
}

/** What a route asks for, without its signature. */
export function describeRoute({ form, sandboxId, port, signature }: Route): ExplainedRoute {
  const expires = signature === undefined ? undefined : describeExpiry(signature.expiresB36);
  return { form, sandboxId, port, signed: signature !== undefined, expires };
}
