/** One thing that must be in order for the ingress to get traffic. Kubelet and everyone on the pod network can read it. */
export interface HealthCheck {
  /** A word or two in kebab-case. */
  readonly name: string;
  readonly ok: boolean;
  /** Why not, in one line; empty when ok. Names no sandbox and no secret. */
  readonly detail: string;
}

/**
 * The text of a probe in the form of Kubernetes' own components: `ok`, or with `verbose`, and whenever a check fails, a line
 * for each check and the verdict.
 */
export function formatHealth(
  probe: "livez" | "readyz",
  checks: readonly HealthCheck[],
  options: { readonly verbose: boolean },
): string {
  const ok = isHealthy(checks);
  if (ok && !options.verbose) return "ok";
  const lines = checks.map((check) =>
    check.ok ? `[+]${check.name} ok` : `[-]${check.name} failed: ${check.detail.replace(/\s+/g, " ")}`,
  );
  return `${[...lines, `${probe} check ${ok ? "passed" : "failed"}`].join("\n")}\n`;
}

export function isHealthy(checks: readonly HealthCheck[]): boolean {
  return checks.every((check) => check.ok);
}
