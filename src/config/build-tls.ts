import type { TlsMinVersion } from "../proxy/tls-settings.ts";
import type { FlagReader } from "./flag-reader.ts";

/** `--tls-…`. */
export interface TlsConfig {
  /** `--tls-cert-file`, which is watched. */
  readonly certFile: string;
  /** `--tls-key-file`, which is watched. */
  readonly keyFile: string;
  /** `--tls-client-ca-file`, which is watched. Undefined: clients need no certificate. */
  readonly clientCaFile: string | undefined;
  /** `--tls-port`, 28443; 0 takes a free one. */
  readonly port: number;
  /** `--tls-only`, false: whether the plain port stays closed. */
  readonly isOnly: boolean;
  /** `--tls-min-version`, 1.2. */
  readonly minVersion: TlsMinVersion;
}

/** Undefined: there is no port with TLS. */
export function readTls(reader: FlagReader, warnings: string[]): TlsConfig | undefined {
  const certFile = reader.optionalText("tls-cert-file");
  const keyFile = reader.optionalText("tls-key-file");
  const clientCaFile = reader.optionalText("tls-client-ca-file");
  const options = {
    clientCaFile,
    port: reader.int("tls-port"),
    isOnly: reader.bool("tls-only"),
    minVersion: reader.choice("tls-min-version"),
  };
  if (certFile !== undefined && keyFile !== undefined) return Object.freeze({ certFile, keyFile, ...options });
  if (certFile !== undefined || keyFile !== undefined) {
    reader.faults.push("--tls-cert-file and --tls-key-file: give both of them");
  } else if (options.isOnly) {
    reader.faults.push("--tls-only: needs --tls-cert-file and --tls-key-file");
  } else if (clientCaFile !== undefined) {
    // Ignoring it would let in whom it should keep out.
    reader.faults.push("--tls-client-ca-file: needs --tls-cert-file and --tls-key-file");
  } else {
    for (const name of ["tls-port", "tls-min-version"] as const) {
      if (reader.isGiven(name)) warnings.push(`--${name} has no effect: --tls-cert-file is missing`);
    }
  }
  return undefined;
}
