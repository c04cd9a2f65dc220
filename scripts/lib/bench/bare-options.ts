import { readNumbers } from "./child-process.ts";
import type { Certificate } from "./certificate.ts";

/** What the bare forwarder is told, in one JSON argument. */
export interface BareOptions {
  readonly upstreamPort: number;
  readonly sinkPort: number;
  readonly chunkedPort: number;
  readonly http2: boolean;
  /** The first two segments of a path name a sandbox and do not belong to it. */
  readonly namedInPath: boolean;
  /** Serves TLS if given. */
  readonly certificate: Certificate | undefined;
}

/** Reads the argument. Throws if a port is missing. */
export function readBareOptions(text: string): BareOptions {
  const value: unknown = JSON.parse(text);
  const ports = readNumbers(value, ["upstreamPort", "sinkPort", "chunkedPort"]);
  const { http2, namedInPath, certificate } = new Object(value) as Partial<BareOptions>;
  return { ...ports, http2: http2 === true, namedInPath: namedInPath === true, certificate };
}
