import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dig } from "./kustomize.ts";

/** The folder `deploy/monitoring`. */
export const MONITORING = join(import.meta.dir, "../../deploy/monitoring");

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly severity: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What deploy/monitoring/alerts.yaml gives to Prometheus: the content of a rule file. */
export function readRuleFile(): unknown {
  return dig(Bun.YAML.parse(readFileSync(join(MONITORING, "alerts.yaml"), "utf8")), "spec");
}

export function readAlerts(): readonly AlertRule[] {
  return listOf(dig(readRuleFile(), "groups"))
    .flatMap((group) => listOf(dig(group, "rules")))
    .map((rule) => ({
      alert: String(dig(rule, "alert")),
      expr: String(dig(rule, "expr")),
      severity: String(dig(rule, "labels", "severity")),
      annotations: textsOf(dig(rule, "annotations")),
    }));
}

export interface DashboardQuery {
  readonly panel: string;
  /** As it stands in the file, with Grafana's variables. */
  readonly expr: string;
}

export function readDashboard(): unknown {
  const dashboard: unknown = JSON.parse(readFileSync(join(MONITORING, "dashboard.json"), "utf8"));
  return dashboard;
}

/** The panels that show something: rows are only headings. */
export function readPanels(): readonly unknown[] {
  return listOf(dig(readDashboard(), "panels")).filter((panel) => dig(panel, "type") !== "row");
}

export function readQueries(): readonly DashboardQuery[] {
  return readPanels().flatMap((panel) =>
    listOf(dig(panel, "targets")).map((target) => ({
      panel: String(dig(panel, "title")),
      expr: String(dig(target, "expr")),
    })),
  );
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(entries.map(([name, text]) => [name, String(text)]));
}
