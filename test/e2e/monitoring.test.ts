import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSampleSandbox, type SampleSandbox } from "../../scripts/lib/demo/sample-sandbox.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { type IngressProcess, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import {
  BATCH_SANDBOX,
  createNamespace,
  createObject,
  installCrd,
  readyAt,
} from "../../scripts/lib/kube/kube-resources.ts";
import { listErrorCodes } from "../../src/errors.ts";
import { ALERT_CASES, buildPromtoolTests, HEALTHY } from "../support/alert-cases.ts";
import { buildBinary } from "../support/binary.ts";
import { hasKubeApiServer, useKubeApiServer } from "../support/kube-fixture.ts";
import { dig, renderKustomization } from "../support/kustomize.ts";
import { readAlerts, readQueries, readRuleFile } from "../support/monitoring.ts";
import { hasPrometheus, type PrometheusServer, runPromtool, startPrometheus } from "../support/prometheus-server.ts";
import { hasRedis, type RedisServer, startRedis } from "../support/redis-server.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeTlsAuthority } from "../support/tls-authority.ts";

setDefaultTimeout(120_000);

const NAMESPACE = "opensandbox";
/** Names of the first version, on which users may depend. No other name may displease promtool. */
const EXCUSED_NAMES = ["opensandbox_ingress_sandbox_count"];
/** How long the series may take to be there, in milliseconds: seconds, but on a busy machine a scrape takes some. */
const SERIES_MAX_MS = 90_000;
/** Milliseconds between rounds of requests. */
const ROUND_MS = 100;

describe.skipIf(!hasPrometheus)("deploy/monitoring/alerts.yaml", () => {
  test("alerts: promtool takes the rules; each alert fires in its case, and none where all is well", async () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "rules.yaml"), JSON.stringify(readRuleFile()));
    expect((await runPromtool(["check", "rules", "rules.yaml"], "", { cwd: dir.path })).output).toContain("SUCCESS");
    const alerts = readAlerts();
    expect(new Set(ALERT_CASES.map(({ alert }) => alert))).toEqual(new Set(alerts.map(({ alert }) => alert)));
    // Else a rule would be quiet where all is well because it sees nothing.
    const healthy = Object.keys(HEALTHY).join(" ");
    for (const { expr } of alerts) for (const name of metricNamesOf(expr)) expect(healthy).toContain(`${name}{`);
    writeFileSync(join(dir.path, "tests.yaml"), JSON.stringify(buildPromtoolTests(alerts, "rules.yaml")));
    const { exitCode, output } = await runPromtool(["test", "rules", "tests.yaml"], "", { cwd: dir.path });
    expect(output).toContain("SUCCESS");
    expect(exitCode).toBe(0);
  });
});

const canRun = [hasPrometheus, hasRedis, hasKubeApiServer()].every(Boolean);

describe.skipIf(!canRun)("a real ingress, scraped by a real Prometheus", () => {
  const api = useKubeApiServer();
  let sandbox: SampleSandbox;
  let redis: RedisServer;
  let ingress: IngressProcess;
  let prometheus: PrometheusServer;
  let traffic: Promise<void>;
  const over = new AbortController();
  const certificates = tempDir();

  beforeAll(async () => {
    const binary = await buildBinary();
    sandbox = startSampleSandbox("sample", { address: "127.0.0.1", port: 0 });
    redis = await startRedis();
    await installCrd(api(), BATCH_SANDBOX);
    await createNamespace(api(), NAMESPACE);
    await createObject(api(), BATCH_SANDBOX, { namespace: NAMESPACE, name: sandbox.name, ...readyAt("127.0.0.1") });
    const { certFile, keyFile } = await (await makeTlsAuthority(certificates.path)).issue("monitored");
    ingress = await startIngressProcess(binary, [
      `--tls-cert-file=${certFile}`,
      `--tls-key-file=${keyFile}`,
      "--tls-port=0",
      `--namespace=${NAMESPACE}`,
      `--kubeconfig=${api().writeKubeconfig("monitoring")}`,
      "--allow-loopback-endpoints",
      "--renew-intent-enabled",
      `--renew-intent-redis-dsn=redis://127.0.0.1:${redis.port}/0`,
    ]);
    prometheus = await startPrometheus({
      target: new URL(ingress.adminOrigin).host,
      // What a PodMonitor adds.
      labels: { namespace: NAMESPACE, pod: "ingress-0" },
      job: `${NAMESPACE}/opensandbox-ingress-gateway`,
      rules: readRuleFile(),
    });
    traffic = makeTraffic();
    // From then on there are series, also those that begin when it happens first.
    const isSeen = async (name: string) => (await prometheus.query(name)).length > 0;
    await eventually(() => isSeen("opensandbox_ingress_upstream_failure_count_total"), { maxMs: SERIES_MAX_MS });
  }, 180_000);
  afterAll(async () => {
    over.abort();
    await traffic;
    await prometheus[Symbol.asyncDispose]();
    await ingress[Symbol.asyncDispose]();
    await redis[Symbol.asyncDispose]();
    await sandbox.stop();
    certificates[Symbol.dispose]();
  });

  /** Every kind of request that a panel shows: good ones, refused ones, failed ones, uploads, WebSockets. */
  async function makeTraffic(): Promise<void> {
    const nobody = findFreePort();
    const to = (route: string) => ({ headers: { "OpenSandbox-Ingress-To": route } });
    const good = to(`${sandbox.name}-${sandbox.port}`);
    while (!over.signal.aborted) {
      const socket = new WebSocket(`${ingress.origin.replace("http", "ws")}/ws`, good);
      socket.addEventListener("open", () => socket.send("hello"));
      socket.addEventListener("message", () => socket.close());
      const asked = [
        fetch(`${ingress.origin}/echo`, good),
        fetch(`${ingress.origin}/upload`, { method: "POST", body: "x".repeat(100_000), ...good }),
        fetch(`${ingress.origin}/`, to("missing-80")),
        fetch(`${ingress.origin}/`, to(`${sandbox.name}-${nobody}`)),
      ];
      for (const answer of asked) await answer.then((response) => response.arrayBuffer()).catch(ignore);
      await Bun.sleep(ROUND_MS);
    }
  }

  /** What Grafana makes of a query. */
  function fill(expr: string): string {
    const filled = expr.replaceAll(/\$(namespace|pod)\b/g, ".*").replaceAll("$__rate_interval", "5s");
    if (filled.includes("$")) throw new Error(`unknown variable in ${expr}`);
    return filled;
  }

  test("every panel of the dashboard shows something, by each of its queries", async () => {
    for (const { panel, expr } of readQueries()) {
      const label = `${panel}: ${expr}`;
      const seen = await eventually(
        async () => {
          const result = await prometheus.query(fill(expr));
          // A quotient of nothing is a series, too.
          const values = result.map((series) => String(dig(series, "value", 1))).filter((value) => value !== "NaN");
          if (values.length === 0) throw new Error(`empty: ${label}`);
          return values;
        },
        { maxMs: SERIES_MAX_MS },
      );
      expect([label, seen.length > 0]).toEqual([label, true]);
    }
  });

  test("every rule is evaluated without an error, and every series that it names exists", async () => {
    const names = readAlerts().map(({ alert }) => alert);
    await eventually(
      async () => {
        const rules = await prometheus.rules();
        expect(rules.map((rule) => dig(rule, "name"))).toEqual(names);
        for (const rule of rules) {
          const state = { health: dig(rule, "health"), lastError: dig(rule, "lastError") };
          expect({ name: dig(rule, "name"), ...state }).toEqual({
            name: dig(rule, "name"),
            health: "ok",
            lastError: undefined,
          });
        }
      },
      { maxMs: SERIES_MAX_MS },
    );
    for (const { alert, expr } of readAlerts()) {
      for (const name of metricNamesOf(expr)) {
        expect([alert, name, (await prometheus.query(name)).length > 0]).toEqual([alert, name, true]);
      }
    }
    const [up] = await prometheus.query('up{job=~".*opensandbox-ingress.*"}');
    expect(dig(up, "value", 1)).toBe("1");
  });

  test("every label by which promtool's cases make an alert fire is one that the ingress gives", async () => {
    const series = [...ALERT_CASES.flatMap((one) => Object.keys(one.series)), ...Object.keys(HEALTHY)];
    for (const one of series) {
      const [, code] = /code="(\w+)"/.exec(one) ?? [];
      const [, kind] = /kind="(\w+)"/.exec(one) ?? [];
      // These series begin when it happens first.
      if (one.includes("http_status_code")) continue;
      if (kind !== undefined) expect(listErrorCodes().map(String)).toContain(`upstream_${kind}`);
      else if (code !== undefined) expect(listErrorCodes().map(String)).toContain(code);
      else {
        const selector = one.replace(/namespace="ns",pod="\w+"/, "").replace(/job="[^"]*"|,version="1"/, "");
        expect([one, (await prometheus.query(selector.replaceAll(/\{,+/g, "{"))).length > 0]).toEqual([one, true]);
      }
    }
  });

  test("promtool has nothing to say of the metrics, but for names that users depend on", async () => {
    const text = await (await fetch(`${ingress.adminOrigin}/metrics`)).text();
    const { output } = await runPromtool(["check", "metrics"], text);
    const faults = output.split("\n").filter((line) => line !== "");
    expect(faults.filter((fault) => !EXCUSED_NAMES.includes(fault.split(" ")[0] ?? ""))).toEqual([]);
    // Each excuse is needed.
    expect(faults.map((fault) => fault.split(" ")[0])).toEqual(EXCUSED_NAMES);
  });

  test("deploy/monitoring is rendered by kustomize: rules, PodMonitor, and a ConfigMap with the dashboard", async () => {
    const objects = await renderKustomization("deploy/monitoring");
    expect([...objects.keys()].toSorted()).toEqual(["ConfigMap", "PodMonitor", "PrometheusRule"]);
    for (const object of objects.values()) expect(dig(object, "metadata", "namespace")).toBe(NAMESPACE);
    const dashboard: unknown = JSON.parse(String(dig(objects.get("ConfigMap"), "data", "opensandbox-ingress.json")));
    expect(dig(dashboard, "title")).toBe("OpenSandbox Ingress");
  });
});

function ignore(): void {}

function metricNamesOf(expr: string): readonly string[] {
  return [...new Set(expr.match(/\bopensandbox_ingress_\w+|\bup\b/g))];
}
