import type { AlertRule } from "./monitoring.ts";

/** Series in promtool's form: name with labels, and values as `start+step x times`, one a minute. */
export type SeriesTable = Readonly<Record<string, string>>;

/** Series in which one alert fires, and the labels that it then has beside its severity. */
export interface AlertCase {
  readonly alert: string;
  readonly series: SeriesTable;
  readonly labels: Readonly<Record<string, string>>;
}

const P = "opensandbox_ingress_";
/** The labels of a pod, as a PodMonitor gives them. */
const POD = { namespace: "ns", pod: "p" } as const;

/** A name with the labels of the pod and others. */
function named(name: string, labels: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries({ ...POD, ...labels }).map(([label, value]) => `${label}="${value}"`);
  return `${P}${name}{${pairs.join(",")}}`;
}

/** An hour of a value that stays. */
const always = (value: number) => `${value}+0x120`;
/** A counter that grows by so much each minute. */
const growing = (perMinute: number) => `0+${perMinute}x120`;

/** When each case is looked at. */
export const LOOK_AT = "1h30m";
/** The same in seconds since 1970: promtool's time begins there. */
const LOOK_AT_S = 5_400;
const DAY_S = 86_400;

/** A certificate with so much of its life left. */
function certificate(times: { readonly leftSeconds: number; readonly lifeSeconds: number; readonly pod?: string }) {
  const { leftSeconds, lifeSeconds, pod = POD.pod } = times;
  return {
    [named("tls_certificate_expiry_seconds", { pod })]: always(LOOK_AT_S + leftSeconds),
    [named("tls_certificate_begin_seconds", { pod })]: always(LOOK_AT_S + leftSeconds - lifeSeconds),
  };
}

const UP = `up{job="ns/opensandbox-ingress-gateway",namespace="ns",pod="p"}`;

/** All that alerts look at, as it is where nothing is wrong: some failures, refusals and cuts are ordinary. */
export const HEALTHY: SeriesTable = {
  [UP]: always(1),
  [named("build_info", { version: "1" })]: always(1),
  [named("process_start_time")]: "1000+0x30 2000+0x90",
  [named("sandbox_table_synced")]: always(1),
  [named("sandbox_table_age")]: always(600_000),
  [named("kubernetes_watch_end_count_total", { reason: "ended" })]: growing(10),
  [named("kubernetes_watch_end_count_total", { reason: "expired" })]: growing(10),
  [named("kubernetes_watch_end_count_total", { reason: "unreachable" })]: growing(1),
  [named("kubernetes_list_count_total", { reason: "initial" })]: growing(1),
  [named("kubernetes_list_count_total", { reason: "expired" })]: "0+0x59 1+0x60",
  [named("sandbox_count", { state: "ambiguous" })]: always(0),
  [named("sandbox_count", { state: "not_ready" })]: always(5),
  [named("http_request_count_total", { http_status_code: "200" })]: growing(1_000),
  [named("upstream_failure_count_total", { kind: "refused" })]: growing(500),
  [named("upstream_failure_count_total", { kind: "reset" })]: growing(10),
  [named("http_refusal_count_total", { code: "sandbox_not_ready" })]: growing(1_000),
  [named("http_refusal_count_total", { code: "memory_short" })]: growing(1),
  [named("http_fault_count_total")]: always(1),
  [named("process_fault_count_total")]: always(0),
  [named("memory_ended_count_total")]: always(3),
  [named("memory_held_bytes")]: always(80),
  [named("memory_budget_bytes")]: always(100),
  [named("memory_limit_bytes")]: always(100),
  [named("process_memory_usage_bytes")]: always(80),
  [named("process_descriptor_open")]: always(80),
  [named("process_descriptor_limit")]: always(100),
  [named("process_descriptor_shortage_count_total", { pressure: "short" })]: growing(1),
  [named("process_descriptor_shortage_count_total", { pressure: "exhausted" })]: always(1),
  // An API server that was away for a minute, and has been back for eight.
  [named("kubernetes_watch_end_count_total", { reason: "server" })]: "0+0x81 40+0x60",
  [named("process_event_loop_delay_bucket", { le: "250" })]: growing(600),
  [named("process_event_loop_delay_bucket", { le: "+Inf" })]: growing(600),
  // A certificate of 90 days with 20 left, and one that is renewed each day and has 6 hours left.
  ...certificate({ leftSeconds: 20 * DAY_S, lifeSeconds: 90 * DAY_S }),
  ...certificate({ leftSeconds: DAY_S / 4, lifeSeconds: DAY_S, pod: "daily" }),
  [named("tls_reload_count_total", { result: "success" })]: growing(1),
  [named("tls_reload_count_total", { result: "error" })]: always(2),
  [named("renew_healthy")]: always(1),
  [named("renew_intent_count_total", { result: "published" })]: growing(100),
  [named("renew_intent_count_total", { result: "dropped" })]: always(0),
  [named("access_sandbox_throttled")]: always(0),
  [named("log_dropped_count_total")]: always(7),
};

/** One or more for each alert. */
export const ALERT_CASES: readonly AlertCase[] = [
  { alert: "OpenSandboxIngressAbsent", series: {}, labels: {} },
  {
    alert: "OpenSandboxIngressDown",
    series: { [UP]: always(0) },
    labels: { ...POD, job: "ns/opensandbox-ingress-gateway" },
  },
  plain("Restarts", { [named("process_start_time")]: "1+0x69 2+0x3 3+0x3 4+0x60" }),
  plain("NotSynced", { [named("sandbox_table_synced")]: always(0) }),
  plain("TableOld", { [named("sandbox_table_age")]: growing(60_000) }),
  plain(
    "WatchFails",
    { [named("kubernetes_watch_end_count_total", { reason: "forbidden" })]: growing(30) },
    { reason: "forbidden" },
  ),
  plain("Relists", { [named("kubernetes_list_count_total", { reason: "silent" })]: growing(1) }, { reason: "silent" }),
  plain("AmbiguousNames", { [named("sandbox_count", { state: "ambiguous" })]: always(2) }, { state: "ambiguous" }),
  {
    alert: "OpenSandboxIngressUpstreamFailures",
    series: {
      [named("http_request_count_total", { http_status_code: "502" })]: growing(600),
      [named("upstream_failure_count_total", { kind: "reset" })]: growing(60),
    },
    labels: { namespace: "ns" },
  },
  plain("Faults", {
    [named("http_fault_count_total")]: "0+0x85 1+0x60",
    [named("process_fault_count_total")]: always(0),
  }),
  plain("Faults", {
    [named("http_fault_count_total")]: always(0),
    [named("process_fault_count_total")]: "0+0x85 1+0x60",
  }),
  ...["too_many_requests", "too_many_requests_sandbox", "too_many_requests_client", "memory_short"].map((code) =>
    plain("RefusesLoad", { [named("http_refusal_count_total", { code })]: growing(30) }, { code }),
  ),
  plain("EndedForMemory", { [named("memory_ended_count_total")]: "0+0x85 5+0x60" }),
  plain("MemoryBudget", { [named("memory_held_bytes")]: always(95), [named("memory_budget_bytes")]: always(100) }),
  plain("MemoryLimit", {
    [named("process_memory_usage_bytes")]: always(95),
    [named("memory_limit_bytes")]: always(100),
  }),
  plain("Descriptors", {
    [named("process_descriptor_open")]: always(95),
    [named("process_descriptor_limit")]: always(100),
    [named("process_descriptor_shortage_count_total", { pressure: "exhausted" })]: growing(1),
  }),
  plain("Descriptors", {
    [named("process_descriptor_open")]: always(50),
    [named("process_descriptor_limit")]: always(100),
    [named("process_descriptor_shortage_count_total", { pressure: "exhausted" })]: "0+0x85 1+0x60",
  }),
  plain("EventLoop", {
    [named("process_event_loop_delay_bucket", { le: "250" })]: growing(0),
    [named("process_event_loop_delay_bucket", { le: "500" })]: growing(600),
    [named("process_event_loop_delay_bucket", { le: "+Inf" })]: growing(600),
  }),
  plain("CertificateExpires", certificate({ leftSeconds: 6 * DAY_S, lifeSeconds: 90 * DAY_S })),
  plain("CertificateExpires", certificate({ leftSeconds: DAY_S / 6, lifeSeconds: DAY_S })),
  plain("CertificateExpired", certificate({ leftSeconds: -1, lifeSeconds: 90 * DAY_S })),
  plain(
    "CertificateRefused",
    { [named("tls_reload_count_total", { result: "error" })]: "0+0x85 1+0x60" },
    { result: "error" },
  ),
  plain("RenewFails", { [named("renew_healthy")]: always(0) }),
  plain(
    "RenewDrops",
    { [named("renew_intent_count_total", { result: "dropped" })]: growing(1) },
    { result: "dropped" },
  ),
  plain("Guessing", { [named("access_sandbox_throttled")]: always(1) }),
  plain("LogLost", { [named("log_dropped_count_total")]: growing(1) }),
];

function plain(name: string, series: SeriesTable, labels: Readonly<Record<string, string>> = {}): AlertCase {
  return { alert: `OpenSandboxIngress${name}`, series, labels: { ...POD, ...labels } };
}

/** A file for `promtool test rules`: each case fires its alert, and in the healthy series no alert fires. */
export function buildPromtoolTests(rules: readonly AlertRule[], ruleFile: string): unknown {
  const toInput = (series: SeriesTable) => Object.entries(series).map(([name, values]) => ({ series: name, values }));
  const firing = ALERT_CASES.map(({ alert, series, labels }) => {
    const rule = rules.find((known) => known.alert === alert);
    if (rule === undefined) throw new Error(`no such alert: ${alert}`);
    const expected = { exp_labels: { ...labels, severity: rule.severity }, exp_annotations: rule.annotations };
    return {
      name: alert,
      interval: "1m",
      input_series: toInput(series),
      alert_rule_test: [{ eval_time: LOOK_AT, alertname: alert, exp_alerts: [expected] }],
    };
  });
  const healthy = {
    name: "healthy",
    interval: "1m",
    input_series: toInput(HEALTHY),
    alert_rule_test: rules.map(({ alert }) => ({ eval_time: LOOK_AT, alertname: alert, exp_alerts: [] })),
  };
  return { rule_files: [ruleFile], evaluation_interval: "1m", tests: [...firing, healthy] };
}
