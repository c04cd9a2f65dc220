import { describe, expect, test } from "bun:test";
import { FLAGS, parseConfig } from "../../../src/config/parse-config.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const NAMESPACE = "--namespace=ns";
const TLS = ["--tls-cert-file=/c", "--tls-key-file=/k"];

function faultsOf(...argv: readonly string[]): readonly string[] {
  const parsed = parseConfig(argv, {});
  return parsed.kind === "faults" ? parsed.faults : [];
}

describe("parseConfig finds the fault", () => {
  test.each<[readonly string[], string]>([
    [[], "--namespace: required"],
    [["--namespace="], "--namespace: required"],
    [["--namespace=a,,b"], '--namespace "a,,b": expected namespaces'],
    [["--namespace=A"], '--namespace "A": expected namespaces'],
    [[`--namespace=${"a".repeat(64)}`], "expected namespaces"],
    [["--namespace=-a"], "expected namespaces"],
    [[NAMESPACE, "--bogus"], "flag provided but not defined: bogus"],
    [[NAMESPACE, "--bogus=1"], "flag provided but not defined: bogus"],
    [[NAMESPACE, "--bogus", "value"], "flag provided but not defined: bogus"],
    [[NAMESPACE, "---port=1"], "invalid flag"],
    [[NAMESPACE, "--=1"], "invalid flag"],
    [[NAMESPACE, "-=1"], "invalid flag"],
    [[NAMESPACE, "-"], "unexpected argument"],
    [[NAMESPACE, "serve"], 'unexpected argument "serve"'],
    [[NAMESPACE, "--", "serve"], 'unexpected argument "serve"'],
    [["--all-namespaces", "false"], "--all-namespaces=false"],
    [[NAMESPACE, "--port"], "--port: a value is missing"],
    [[NAMESPACE, "--port="], "--port"],
    [[NAMESPACE, "--port=65536"], "must be between 0 and 65535"],
    [[NAMESPACE, "--port=-1"], "must be between 0 and 65535"],
    [[NAMESPACE, "--port=028888"], "without leading zeros"],
    [[NAMESPACE, "--port=0x10"], "expected a whole decimal number"],
    [[NAMESPACE, "--port=1e3"], "expected a whole decimal number"],
    [[NAMESPACE, "--port=28889"], "--port and --admin-port: both are 28889"],
    [[NAMESPACE, "--tls-cert-file=/c"], "--tls-cert-file and --tls-key-file: give both"],
    [[NAMESPACE, "--tls-key-file=/k"], "--tls-cert-file and --tls-key-file: give both"],
    [[NAMESPACE, "--tls-only"], "--tls-only: needs --tls-cert-file"],
    [[NAMESPACE, "--tls-client-ca-file=/a"], "--tls-client-ca-file: needs --tls-cert-file"],
    [[NAMESPACE, ...TLS, "--tls-min-version=1.1"], "expected 1.2, 1.3"],
    [[NAMESPACE, ...TLS, "--tls-port=28889"], "--tls-port and --admin-port: both are 28889"],
    [[NAMESPACE, ...TLS, "--tls-port=28888"], "--tls-port and --port: both are 28888"],
    [[NAMESPACE, "--all-namespaces=yes"], "expected true or false"],
    [[NAMESPACE, "--mode=both"], "expected header, uri, wildcard"],
    [[NAMESPACE, "--provider-type=pod"], "expected batchsandbox, agent-sandbox"],
    [[NAMESPACE, "--provider-type=fast-sandbox"], "this ingress does not serve fast sandboxes"],
    [[NAMESPACE, "--activity-enabled", "--activity-redis-dsn=$(REDIS_DSN)"], "contains a literal $(NAME)"],
    [[NAMESPACE, "--activity-enabled", "--activity-redis-dsn=h:6379"], "--activity-redis-dsn: "],
    [[NAMESPACE, "--activity-ttl-seconds=0"], "must be between 1 and"],
    [[NAMESPACE, "--audit-enabled"], "--audit-enabled: this ingress sends no audit events"],
    [[NAMESPACE, "--hold-until-ready=11m"], "must be between 0 and 10m"],
    [[NAMESPACE, "--hold-until-ready=30"], "the unit is missing"],
    [[NAMESPACE, "--hold-max=0"], "must be between 1 and"],
    [[NAMESPACE, "--wake-scope=every"], "expected annotated, all"],
    [[NAMESPACE, "--wake-max=0"], "must be between 1 and"],
    [[NAMESPACE, "--wake-park-budget=0"], "must be between"],
    [[NAMESPACE, "--wake-ignore-paths=favicon.ico"], "expected paths that begin with /"],
    [[NAMESPACE, `--wake-ignore-paths=${"/a,".repeat(101)}`], "expected at most 100 paths"],
    [[NAMESPACE, "--network-readiness-failure-ratio=a"], "expected a number such as 0.2"],
    [[NAMESPACE, "--network-readiness-min-targets=x"], "expected a whole decimal number"],
    [[NAMESPACE, "--log-level=trace"], "expected debug, info, warn, error"],
    [[NAMESPACE, "--log-format=xml"], "expected text, json"],
    [[NAMESPACE, "--host-header=client"], "expected upstream, preserve, localhost"],
    [[NAMESPACE, "--origin-header=localhost"], "expected preserve, upstream"],
    [[NAMESPACE, "--uri-prefix=drop"], "expected strip, keep"],
    [[NAMESPACE, "--cookie-domain=all"], "expected drop, keep"],
    [[NAMESPACE, "--uri-recovery=on"], "expected referer, off"],
    [[NAMESPACE, "--cors-origins=*"], "expected origins"],
    [[NAMESPACE, "--cors-origins=null"], "expected origins"],
    [[NAMESPACE, "--cors-origins=app.example.com"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://a.example.com,"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://a.example.com/"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://u@a.example.com"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://a.example.com:65536"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://a.example.com:0"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://*.com"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://*example.com"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://a.*.example.com"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://*.*.example.com"], "expected origins"],
    [[NAMESPACE, "--cors-origins=https://*.10.0.0.1"], "expected origins"],
    [[NAMESPACE, "--cors-origins=chrome-extension://*.example.com"], "expected origins"],
    [
      [NAMESPACE, `--cors-origins=${Array.from({ length: 65 }, (_, at) => `https://a${at}.test`).join()}`],
      "at most 64",
    ],
    [[NAMESPACE, "--access-log=some"], "expected off, errors, all"],
    [[NAMESPACE, "--host=example.com"], "expected an IP address or localhost"],
    [[NAMESPACE, "--admin-host=[::]"], "expected an IP address or localhost"],
    [[NAMESPACE, "--trusted-proxies=10.0.0.0/33"], "prefix length"],
    [[NAMESPACE, "--endpoint-ranges=10.0.0.0/33"], "prefix length"],
    [[NAMESPACE, "--endpoint-ranges=private"], "expected an address or a CIDR range"],
    [[NAMESPACE, "--endpoint-ranges=$(POD_CIDR)"], "--endpoint-ranges"],
    [[NAMESPACE, "--cluster-domain=localhost"], "expected the domain of a cluster"],
    [[NAMESPACE, "--cluster-domain=a.localhost"], "expected the domain of a cluster"],
    [[NAMESPACE, "--cluster-domain=cluster..local"], "expected the domain of a cluster"],
    [[NAMESPACE, "--cluster-domain=10.0.0.1"], "expected the domain of a cluster"],
    [[NAMESPACE, "--cluster-domain=*.local"], "expected the domain of a cluster"],
    [[NAMESPACE, "--connect-timeout=0"], "must be between 1ms"],
    [[NAMESPACE, "--connect-timeout=5"], "the unit is missing"],
    [[NAMESPACE, "--drain-timeout=-1s"], "must not be negative"],
    [[NAMESPACE, "--drain-timeout=600h"], "is too long"],
    [[NAMESPACE, "--max-header-size=1KiB"], "must be between 4KiB and 16MiB"],
    [[NAMESPACE, "--max-body-size=1.5GiB"], "expected a size"],
    [[NAMESPACE, "--memory-budget=512"], "must be 0 or at least 1MiB"],
    [[NAMESPACE, "--memory-budget=half"], "expected a size"],
    [[NAMESPACE, "--websocket-max-message=0"], "must be between 125 and 1GiB"],
    [[NAMESPACE, "--websocket-frame-rate=-1"], "must be between 0"],
    [[NAMESPACE, "--max-rate-per-sandbox=100"], "expected a rate"],
    [[NAMESPACE, "--max-rate-per-sandbox=0/s"], "expected a rate"],
    [[NAMESPACE, "--max-rate-per-sandbox=1000001/s"], "expected a rate"],
    [[NAMESPACE, "--max-requests=-1"], "must be between 0"],
    [[NAMESPACE, "--secure-access-keys=a=$(KEY)"], "environment variable is not set"],
    [[NAMESPACE, "--secure-access-keys=a=MTIz,a=MTIz"], 'entry 2 repeats key id "a"'],
    [[NAMESPACE, "--secure-access-keys=a=MTIz,a=MTIz"], "--secure-access-keys: "],
    [[NAMESPACE, "--secure-access-keys=a="], "--secure-access-keys: "],
    [[NAMESPACE, "--secure-access-keys=a=MTIz", "--secure-access-keys-file=f"], "only one of them"],
    [[NAMESPACE, "--renew-intent-enabled", "--renew-intent-redis-dsn=$(REDIS_URL)"], "environment variable is not set"],
    [
      [NAMESPACE, "--renew-intent-redis-dsn=redis://h", "--renew-intent-redis-dsn-file=f"],
      "--renew-intent-redis-dsn and --renew-intent-redis-dsn-file: give only one of them",
    ],
    [[NAMESPACE, "--renew-intent-redis-dsn=http://x"], "redis"],
    [[NAMESPACE, "--renew-intent-enabled", "--renew-intent-redis-dsn="], "redis"],
    [[NAMESPACE, "--renew-intent-queue-key="], "must not be empty"],
    [[NAMESPACE, "--renew-intent-min-interval=1m"], "expected a whole decimal number"],
  ])("of %j", (argv, text) => {
    const faults = faultsOf(...argv);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(text);
  });

  test("of every part of a command line at once", () => {
    expect(faultsOf("serve", "--bogus", "--port=x", "--mode=y", "--drain-timeout=z", "--log-level")).toHaveLength(7);
  });

  test("and shows the typed text on one line, without control characters", () => {
    for (const fault of faultsOf("--port=1\n\u001b[31m\u009b", "--bo\ngus", "--trusted-proxies=a\nb", "x\ny")) {
      // oxlint-disable-next-line no-control-regex -- control characters are what this is about
      expect(fault).not.toMatch(/[\u0000-\u001f\u0080-\u009f]/);
    }
  });
});

test("parseConfig repeats no secret in a fault", () => {
  const secret = "c2VjcmV0LXZhbHVl";
  const lines = [
    [`--secure-access-keys=$(${secret})`],
    [`--secure-access-keys=${secret}`],
    [`--secure-access-keys=ab=${secret}`],
    [`--secure-access-keys=a=${secret}!`],
    [`--secure-access-keys=a=MTIz,a=${secret}`],
    ["--secure-access-keys=", secret],
    [`--secure-access-keys=${secret}`],
    [`--secure-access-keys=a=${secret}!`],
    [`--secure-access-keys=a=${secret},a=${secret}`],
    [`--secure-acess-keys=a=${secret}`],
    ["--secure-acess-keys", `a=${secret}`],
    [`a=${secret}`],
    [`--renew-intent-redis-dsn=http://u:${secret}@h`],
    [`--renew-intent-redis-dsn=redis://u:${secret}@h:port`],
    [`--renew-intent-redis-dsn=redis://u:${secret} @h/x`],
    ["--renew-intent-redis-dsn=", `redis://u:${secret}@h`],
    ["--", `redis://u:${secret}@h`],
  ];
  for (const argv of lines) {
    const faults = faultsOf(NAMESPACE, ...argv);
    expect(faults).toHaveLength(1);
    expect(faults.join()).not.toContain(secret);
  }
});

test.each(["redis:h", "redis://h:99999", "redis://h/x", "redis://h/1/2", "unix://x", "unix:///", "unix:///s?db=x"])(
  "parseConfig refuses the Redis address %s",
  (dsn) => expect(faultsOf(NAMESPACE, `--renew-intent-redis-dsn=${dsn}`)).toHaveLength(1),
);

test("parseConfig gives a ParsedConfig for any command line", () => {
  const random = createRandom(20_260_615);
  const names = FLAGS.map((flag) => flag.name);
  const alphabet = "-=abt0159.:/@$(),msKiB \n\u001b\u202eµé";
  const kinds = new Set<string>();
  for (let round = 0; round < 3_000; round += 1) {
    const argv = Array.from({ length: random.integer(6) }, () => {
      const dashes = random.pick(["-", "--", "---", ""]);
      const name = random.integer(3) > 0 ? random.pick(["help", ...names]) : random.text(alphabet, random.integer(9));
      return `${dashes}${name}${random.pick(["", "=", `=${random.text(alphabet, random.integer(11))}`])}`;
    });
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: random.text(alphabet, random.integer(11)),
      HOST_IP: random.text("0123:.", random.integer(10)),
    };
    const parsed = parseConfig(argv, env);
    kinds.add(parsed.kind);
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about
    if (parsed.kind === "faults") expect(parsed.faults.join("")).not.toMatch(/[\u0000-\u001f]/);
  }
  expect([...kinds].toSorted()).toEqual(["faults", "help", "run", "version"]);
});
