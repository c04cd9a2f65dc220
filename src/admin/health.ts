/** One condition for traffic. The kubelet and everyone on the pod network can read it. */
export interface HealthCheck {
  /** A word or two in kebab-case. */
  readonly name: string;
  readonly ok: boolean;
  /** The reason of a failure, in one line; empty if ok. It names no sandbox and no secret. */
  readonly detail: string;
}

/**
 * The text of a probe, in the format of Kubernetes' own components: `ok`. With `verbose` or if a check fails, it has a
 * line for each check and the verdict.
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
