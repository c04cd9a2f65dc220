import { $ } from "bun";
import { join } from "node:path";
import { requirePart } from "./requires.ts";

/** Whether certificates can be made here. */
export function hasOpenssl(): boolean {
  return requirePart("openssl", { get: "apt-get install openssl" });
}

/** An authority for client certificates, and a certificate that it has signed. */
export interface ClientCertificate {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** @param subject As kube-apiserver reads it: `/O=<group>/CN=<user>`. */
export async function makeClientCertificate(dir: string, subject: string): Promise<ClientCertificate> {
  const [caFile, caKeyFile] = [join(dir, "client-ca.pem"), join(dir, "client-ca.key")];
  const [certFile, keyFile, request] = [join(dir, "client.pem"), join(dir, "client.key"), join(dir, "client.csr")];
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await $`openssl req -x509 ${newKey} -subj /CN=client-ca -days 2 -keyout ${caKeyFile} -out ${caFile}`.quiet();
  await $`openssl req ${newKey} -subj ${subject} -keyout ${keyFile} -out ${request}`.quiet();
  await $`openssl x509 -req -in ${request} -CA ${caFile} -CAkey ${caKeyFile} -CAcreateserial -days 2 -out ${certFile}`.quiet();
  return { caFile, certFile, keyFile };
}
