import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dig } from "../../support/kustomize.ts";
import { listOf, MONITORING, readAlerts, readDashboard, readPanels, readQueries } from "../../support/monitoring.ts";

/** Columns of Grafana's grid. */
const GRID_COLUMNS = 24;

describe("deploy/monitoring/alerts.yaml", () => {
  const alerts = readAlerts();

  test("alerts have names of their own, a severity, and words for whoever is called", () => {
    expect(alerts.length).toBeGreaterThan(15);
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
    for (const { alert, severity, annotations } of alerts) {
      expect(alert).toStartWith("OpenSandboxIngress");
      expect(["warning", "critical"]).toContain(severity);
      expect(annotations["summary"]?.length).toBeGreaterThan(10);
      expect(annotations["description"]?.length).toBeGreaterThan(30);
    }
  });

  test("runbook.md has one section for each alert, in the same order, and each alert names its own", () => {
    const sections = [...readFileSync(join(MONITORING, "runbook.md"), "utf8").matchAll(/^## (.*)$/gm)].map(
      ([, heading]) => heading,
    );
    expect(sections).toEqual(alerts.map(({ alert }) => alert));
    for (const { alert, annotations } of alerts) {
      expect(annotations["runbook"]).toBe(`deploy/monitoring/runbook.md#${alert.toLowerCase()}`);
    }
  });
});

describe("deploy/monitoring/pod-monitor.yaml", () => {
  test("pod-monitor selects the pods of the Deployment, and the port that serves metrics", () => {
    const read = (path: string): unknown => Bun.YAML.parse(readFileSync(join(MONITORING, path), "utf8"));
    const monitor = dig(read("pod-monitor.yaml"), "spec");
    const template = dig(read("../base/deployment.yaml"), "spec", "template");
    expect(dig(monitor, "selector", "matchLabels")).toEqual(dig(template, "metadata", "labels"));
    const [endpoint] = listOf(dig(monitor, "podMetricsEndpoints"));
    const ports = listOf(dig(template, "spec", "containers", 0, "ports"));
    expect(ports.map((port) => dig(port, "name"))).toContain(dig(endpoint, "port"));
    expect(dig(endpoint, "path")).toBe("/metrics");
  });
});

describe("deploy/monitoring/dashboard.json", () => {
  test("panels have numbers and titles of their own, fit into the grid and do not overlap", () => {
    const all = listOf(dig(readDashboard(), "panels"));
    expect(new Set(all.map((panel) => dig(panel, "id"))).size).toBe(all.length);
    expect(new Set(all.map((panel) => dig(panel, "title"))).size).toBe(all.length);
    const taken = new Set<string>();
    for (const panel of all) {
      const [x, y, w, h] = ["x", "y", "w", "h"].map((side) => Number(dig(panel, "gridPos", side)));
      if (x === undefined || y === undefined || w === undefined || h === undefined) throw new Error("no place");
      expect(x + w).toBeLessThanOrEqual(GRID_COLUMNS);
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          expect(taken.has(`${column} ${line}`)).toBe(false);
          taken.add(`${column} ${line}`);
        }
      }
    }
  });

  test("every query obeys the variables for namespace and pod, and every panel the one for the data source", () => {
    for (const { expr } of readQueries()) {
      const selectors = expr.match(/opensandbox_ingress_\w+(\{[^}]*\})?/g) ?? [];
      expect(selectors.length).toBeGreaterThan(0);
      for (const selector of selectors) expect(selector).toContain('{namespace=~"$namespace",pod=~"$pod"');
    }
    for (const panel of readPanels()) expect(dig(panel, "datasource", "uid")).toBe("${datasource}");
    const variables = listOf(dig(readDashboard(), "templating", "list")).map((variable) => dig(variable, "name"));
    expect(variables).toEqual(["datasource", "namespace", "pod"]);
  });
});
