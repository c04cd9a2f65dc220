import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { faultTextOf } from "../config/text.ts";
import { silentLogger } from "../log/logger.ts";
import { createKeyPairFiles, isExpiryNear } from "../tls/key-pair-files.ts";
import type { Finding } from "./finding.ts";

/** Reads the certificate for clients and its key as the ingress does, and says when it ends. */
export async function checkCertificate({ tls }: Pick<Config, "tls">, clock: Clock): Promise<Finding> {
  const name = "certificate";
  if (tls === undefined) return { name, state: "skip", detail: "not configured: there is no port with TLS" };
  const files = createKeyPairFiles({ paths: tls, onPair() {}, logger: silentLogger, clock });
  try {
    const pair = await files.start();
    const now = clock.now();
    const detail = `${pair.names}, ends ${new Date(pair.validToMs).toISOString()}`;
    const remedy = "renew the certificate";
    if (pair.validToMs <= now) return { name, state: "fail", detail, remedy };
    if (pair.validFromMs > now) return { name, state: "fail", detail: `${detail}, but has not begun`, remedy };
    return isExpiryNear(pair, now) ? { name, state: "warn", detail, remedy } : { name, state: "ok", detail };
  } catch (thrown) {
    const remedy = "correct --tls-cert-file, --tls-key-file or --tls-client-ca-file";
    return { name, state: "fail", detail: faultTextOf(thrown), remedy };
  } finally {
    files.stop();
  }
}
