/** What routing and access cost per request: `bun scripts/bench-access.ts`. Numbers, not verdicts: machines differ. */
import { createAccessChecker } from "../src/access/checker.ts";
import { parseAccessKeys } from "../src/access/keys.ts";
import { FailureLimiter } from "../src/access/failure-limiter.ts";
import { signRoute, verifySignature } from "../src/access/signature.ts";
import { systemClock } from "../src/clock.ts";
import { formatLabelRoute, formatUriRoute } from "../src/route/format-route.ts";
import { parseRoute } from "../src/route/parse-route.ts";

const ROUNDS = 200_000;

/** Microseconds per call, after a warm-up of the same length. */
function measure(run: () => unknown): number {
  let startedAt = 0;
  for (let pass = 0; pass < 2; pass++) {
    startedAt = performance.now();
    for (let round = 0; round < ROUNDS; round++) run();
  }
  return ((performance.now() - startedAt) * 1_000) / ROUNDS;
}

const keys = parseAccessKeys("a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
const plain = { sandboxId: "7ed601a4-bd34-4f63-9eac-9792848e73ed", port: 44_772, signature: undefined };
const signature = signRoute(keys, "a", { ...plain, expiresB36: "3w5e11264sgsf" });
const signed = { ...plain, signature };

const failures = new FailureLimiter({ clock: systemClock });
// An empty limiter answers without looking.
failures.record({ sandboxUid: "another", clientAddress: "203.0.113.9", peerAddress: "203.0.113.9" });
const checker = createAccessChecker({ keys: () => keys, failures, clock: systemClock });
const headers = (value: string) => new Headers({ "OpenSandbox-Ingress-To": value, Accept: "*/*" });
const none = new Headers({ Accept: "*/*" });
const plainHeader = headers(formatLabelRoute(plain));
const signedHeader = headers(formatLabelRoute(signed));
const host = `${formatLabelRoute(plain)}.sandbox.example.com`;
const uri = `${formatUriRoute(plain)}/some/path/of/ordinary/length.html`;
const signedUri = `${formatUriRoute(signed)}/some/path/of/ordinary/length.html`;

const token = "0123456789abcdef0123456789abcdef";
const request = {
  route: parseRoute({ path: "/x", headers: signedHeader, host: "" }, "header"),
  sandboxUid: plain.sandboxId,
  accessToken: token,
  presentedToken: null,
  peerAddress: "10.0.0.1",
  nowMs: Date.now(),
};

const cases: Readonly<Record<string, () => unknown>> = {
  "parseRoute header": () => parseRoute({ path: "/x", headers: plainHeader, host: "" }, "header"),
  "parseRoute header, signed": () => parseRoute({ path: "/x", headers: signedHeader, host: "" }, "header"),
  "parseRoute host": () => parseRoute({ path: "/x", headers: none, host }, "header"),
  "parseRoute uri": () => parseRoute({ path: uri, headers: none, host: "" }, "uri"),
  "parseRoute uri, signed": () => parseRoute({ path: signedUri, headers: none, host: "" }, "uri"),
  verifySignature: () => verifySignature(keys, signed),
  "check signature, IPv4": () => checker.check({ ...request, clientAddress: "203.0.113.7" }),
  "check signature, IPv6": () => checker.check({ ...request, clientAddress: "2001:db8::1" }),
  "check token": () => checker.check({ ...request, clientAddress: "203.0.113.7", presentedToken: token }),
};
for (const [name, run] of Object.entries(cases)) console.log(`${name.padEnd(28)}${measure(run).toFixed(2)} us`);
