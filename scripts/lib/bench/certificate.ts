import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Files in PEM. HAProxy wants both parts in one file. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly bothFile: string;
}

/** Makes a certificate for 127.0.0.1 in the folder with openssl, once. ECDSA P-256, as most servers have today. */
export function ensureCertificate(folder: string): Certificate {
  const certificate = {
    certFile: join(folder, "tls.crt"),
    keyFile: join(folder, "tls.key"),
    bothFile: join(folder, "tls.pem"),
  };
  if (existsSync(certificate.bothFile)) return certificate;
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const files = ["-keyout", certificate.keyFile, "-out", certificate.certFile];
  const made = Bun.spawnSync(["openssl", "req", ...kind, ...names, ...files]);
  if (!made.success) throw new Error(`Cannot make a certificate: ${made.stderr.toString().trim()}`);
  const both = readFileSync(certificate.certFile, "utf8") + readFileSync(certificate.keyFile, "utf8");
  writeFileSync(certificate.bothFile, both);
  return certificate;
}
