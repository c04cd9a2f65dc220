/** The versions that clients may speak at least. Older ones than 1.2 are broken (RFC 8996). */
export type TlsMinVersion = "1.2" | "1.3";

/** How the port with TLS serves. */
export interface TlsSettings {
  /** PEM: the certificate, and those between it and its root. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /**
   * PEM: a client must show a certificate that one of these has signed. Undefined: no client certificate is asked for.
   */
  readonly clientCa: string | undefined;
  readonly minVersion: TlsMinVersion;
}

/** OpenSSL's `SSL_OP_NO_TLSv1_2`: Bun has no setting for the lowest version. Bun itself refuses versions below 1.2. */
const NO_TLS_1_2 = 0x0800_0000;

/**
 * What is spoken with TLS 1.2: only what keeps recorded traffic secret if the key is stolen later (ECDHE), and
 * authenticates each record (AEAD). HTTP/2 forbids the others (RFC 9113 §9.2.2). Bun would also accept RSA key exchange
 * and CBC. TLS 1.3 has no others.
 */
const CIPHERS_1_2 = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]
  .flatMap((cipher) => [`ECDHE-ECDSA-${cipher}`, `ECDHE-RSA-${cipher}`])
  .join(":");

/** The settings as `Bun.serve` takes them. */
export function toBunTls({ cert, key, clientCa, minVersion }: TlsSettings): Bun.TLSOptions {
  return {
    cert,
    key,
    ciphers: CIPHERS_1_2,
    ...(minVersion === "1.3" ? { secureOptions: NO_TLS_1_2 } : {}),
    ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
  };
}
