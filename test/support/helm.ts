import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runToEnd } from "../../scripts/lib/ingress-process.ts";
import type { Json } from "../../scripts/lib/kube/kube-api-server.ts";
import { canHaveHelm, ensureHelm, HELM_HINT } from "../../scripts/lib/kube/helm-binary.ts";
import { requirePart } from "./requires.ts";
import { tempDir } from "./temp-dir.ts";

/** The chart in this checkout. */
export const CHART = join(import.meta.dir, "../../deploy/chart");
/** The name of the existing chart's release in its own documentation, and the default of `renderChart`. */
export const RELEASE = "opensandbox-ingress-gateway";
export const POD_MONITOR_VERSION = "monitoring.coreos.com/v1/PodMonitor";

/** Whether tests that need Helm can run here; prints why not. */
export function hasHelm(): boolean {
  return requirePart("helm", { get: HELM_HINT, isPresent: canHaveHelm });
}

export interface HelmOptions {
  /** Written to a file and passed as `--values`. */
  readonly values?: Json;
  readonly kubeconfig?: string;
}

/** Runs Helm to its end, without the settings of whoever runs the tests. */
export async function runHelm(args: readonly string[], options: HelmOptions = {}) {
  using dir = tempDir();
  const helm = await ensureHelm((line) => console.error(line));
  const values = join(dir.path, "values.json");
  writeFileSync(values, JSON.stringify(options.values ?? {}));
  const flags = options.values === undefined ? [] : [`--values=${values}`];
  return await runToEnd([helm, ...args, ...flags], {
    env: {
      HOME: dir.path,
      HELM_CACHE_HOME: join(dir.path, "cache"),
      HELM_CONFIG_HOME: join(dir.path, "config"),
      HELM_DATA_HOME: join(dir.path, "data"),
      KUBECONFIG: options.kubeconfig ?? "/dev/null",
      NO_PROXY: "*",
    },
  });
}

/** The output of Helm. Throws an Error with its complaint if it fails. */
export async function helm(args: readonly string[], options: HelmOptions = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await runHelm(args, options);
  if (exitCode !== 0) throw new Error(`helm ${args.join(" ")}: ${stderr}${stdout}`);
  return stdout;
}

export interface RenderOptions {
  readonly values: Json;
  /** Kinds that the cluster has beside Kubernetes' own. */
  readonly apiVersions?: readonly string[];
  /** Default: 1.34, as Helm has it. */
  readonly kubeVersion?: string;
  /** What `helm test` creates, too. */
  readonly hooks?: true;
}

/** The objects that the chart makes of some values. */
export async function renderChart(options: RenderOptions): Promise<readonly Json[]> {
  return parseObjects(await helm(["template", RELEASE, CHART, ...renderFlags(options)], { values: options.values }));
}

function renderFlags({ apiVersions = [], kubeVersion, hooks }: RenderOptions): string[] {
  return [
    ...apiVersions.map((version) => `--api-versions=${version}`),
    ...(kubeVersion === undefined ? [] : [`--kube-version=${kubeVersion}`]),
    ...(hooks === true ? [] : ["--no-hooks"]),
  ];
}

/** The objects of a stream of YAML documents, or of a list in one of them. */
export function parseObjects(text: string): readonly Json[] {
  return text
    .split(/^---$/m)
    .flatMap((document): unknown => Bun.YAML.parse(document))
    .flatMap((object) =>
      typeof object === "object" && object !== null ? [Object.fromEntries(Object.entries(object))] : [],
    );
}
