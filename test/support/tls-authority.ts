import { $ } from "bun";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The key of a certificate: its type, and its size or curve. */
export type TlsKeyType = "ec" | "rsa";

/** A certificate with its key, as files and as text. */
export interface TlsPair {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** An authority that signs certificates for `localhost` and 127.0.0.1. */
export interface TlsAuthority {
  readonly caFile: string;
  readonly ca: string;
  /** Makes a pair. An intermediate authority between adds its certificate to the chain. */
  issue(name: string, options?: { readonly key?: TlsKeyType; readonly days?: number }): Promise<TlsPair>;
  /** Makes a pair whose certificate begins and ends at these times. */
  issueFor(name: string, begin: Date, end: Date): Promise<TlsPair>;
  /** The same through another authority, whose certificate is part of the chain. */
  issueByIntermediate(name: string): Promise<TlsPair>;
}

const NEW_KEY: Readonly<Record<TlsKeyType, readonly string[]>> = {
  ec: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
  rsa: ["-newkey", "rsa:2048", "-nodes"],
};
const NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1";

export async function makeTlsAuthority(dir: string): Promise<TlsAuthority> {
  const file = (name: string): string => join(dir, name);
  const [caFile, caKey] = [file("ca.pem"), file("ca.key")];
  await $`openssl req -x509 ${NEW_KEY.ec} -subj /CN=ca -days 30 -keyout ${caKey} -out ${caFile}`.quiet();
  const read = (certFile: string, keyFile: string): TlsPair => ({
    certFile,
    keyFile,
    cert: readFileSync(certFile, "utf8"),
    key: readFileSync(keyFile, "utf8"),
  });
  const sign = async (
    name: string,
    {
      by,
      byKey,
      key,
      days,
      extension,
    }: { by: string; byKey: string; key: TlsKeyType; days: number; extension: string },
  ): Promise<TlsPair> => {
    const [certFile, keyFile, request] = [file(`${name}.pem`), file(`${name}.key`), file(`${name}.csr`)];
    await $`openssl req ${NEW_KEY[key]} -subj ${`/CN=${name}`} -addext ${extension} -keyout ${keyFile} -out ${request}`.quiet();
    await $`openssl x509 -req -in ${request} -CA ${by} -CAkey ${byKey} -CAcreateserial -days ${days} -copy_extensions copy -out ${certFile}`.quiet();
    return read(certFile, keyFile);
  };
  return {
    caFile,
    ca: readFileSync(caFile, "utf8"),
    issue: (name, { key = "ec", days = 20 } = {}) =>
      sign(name, { by: caFile, byKey: caKey, key, days, extension: NAMES }),
    async issueFor(name, begin, end) {
      const [certFile, keyFile, request, config] = [`${name}.pem`, `${name}.key`, `${name}.csr`, `${name}.cnf`].map(
        file,
      );
      const [certPath, keyPath] = [certFile ?? "", keyFile ?? ""];
      // Only `openssl ca` of OpenSSL 3.0 takes a begin. It wants a database and a policy.
      writeFileSync(file(`${name}.db`), "");
      writeFileSync(
        config ?? "",
        `[ca]\ndefault_ca=own\n[own]\ndatabase=${file(`${name}.db`)}\nnew_certs_dir=${dir}\nrand_serial=yes\n` +
          "default_md=sha256\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\n",
      );
      await $`openssl req ${NEW_KEY.ec} -subj ${`/CN=${name}`} -keyout ${keyPath} -out ${request}`.quiet();
      const [from, to] = [begin, end].map((date) => date.toISOString().replaceAll(/[-:T]|\.\d+/g, ""));
      await $`openssl ca -batch -notext -config ${config} -cert ${caFile} -keyfile ${caKey} -startdate ${from} -enddate ${to} -in ${request} -out ${certPath}`.quiet();
      return read(certPath, keyPath);
    },
    async issueByIntermediate(name) {
      const extension = "basicConstraints=critical,CA:TRUE";
      const middle = await sign(`${name}-ca`, { by: caFile, byKey: caKey, key: "ec", days: 20, extension });
      const pair = await sign(name, {
        by: middle.certFile,
        byKey: middle.keyFile,
        key: "ec",
        days: 20,
        extension: NAMES,
      });
      return { ...pair, cert: pair.cert + middle.cert };
    },
  };
}
