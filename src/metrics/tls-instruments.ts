import { byLabel, type InstrumentSpec } from "./instrument.ts";
import type { MetricsSources } from "./sources.ts";

const MS_PER_SECOND = 1_000;

/** The certificate of the port with TLS. Without one there are no series. */
export function listTlsInstruments(current: () => MetricsSources): readonly InstrumentSpec[] {
  const certificate = () => current().certificate?.();
  const toSeconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / MS_PER_SECOND);
  return [
    {
      name: "ingress.tls.certificate.expiry_seconds",
      kind: "gauge",
      unit: "s",
      description: "When the certificate for clients expires, in seconds since 1970",
      read: () => toSeconds(certificate()?.validToMs),
    },
    {
      name: "ingress.tls.certificate.begin_seconds",
      kind: "gauge",
      unit: "s",
      description: "When the certificate for clients begins, in seconds since 1970",
      read: () => toSeconds(certificate()?.validFromMs),
    },
    {
      name: "ingress.tls.reload.count",
      kind: "counter",
      description: "Changes of the TLS files that were used, and that could not be used",
      read: () => {
        const told = certificate();
        return told === undefined ? undefined : byLabel("result", { success: told.renewals, error: told.failures });
      },
    },
  ];
}
