import { afterAll, beforeAll, expect, test } from "bun:test";
import { $ } from "bun";
import { parseKeyPair } from "../../../src/tls/key-pair.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { makeTlsAuthority, type TlsAuthority, type TlsPair } from "../../support/tls-authority.ts";

const dir = tempDir();
let authority: TlsAuthority;
let pair: TlsPair;
let other: TlsPair;
beforeAll(async () => {
  authority = await makeTlsAuthority(dir.path);
  pair = await authority.issue("a");
  other = await authority.issue("b", { key: "rsa" });
});
afterAll(() => dir[Symbol.dispose]());

const openssl = async (...args: readonly string[]): Promise<string> => (await $`openssl ${args}`.quiet()).text();

test("parseKeyPair takes ECDSA and RSA keys, and tells names, fingerprint and end", async () => {
  for (const { cert, key, certFile } of [pair, other]) {
    const parsed = parseKeyPair({ cert, key, clientCa: authority.ca });
    expect(parsed).toMatchObject({ cert, key, clientCa: authority.ca });
    expect(parsed.names).toBe("DNS:localhost, IP Address:127.0.0.1");
    expect(await openssl("x509", "-in", certFile, "-noout", "-fingerprint", "-sha256")).toContain(parsed.fingerprint);
    const [, end = ""] = (await openssl("x509", "-in", certFile, "-noout", "-enddate")).split("=");
    expect(parsed.validToMs).toBe(Date.parse(end));
  }
});

test("parseKeyPair takes the earliest end of a chain", async () => {
  const short = await authority.issue("short", { days: 1 });
  const chained = parseKeyPair({ cert: pair.cert + short.cert, key: pair.key, clientCa: undefined });
  expect(chained.validToMs).toBe(parseKeyPair({ ...short, clientCa: undefined }).validToMs);
});

test("parseKeyPair says what is wrong, and nothing of the key", async () => {
  const weak = await openssl("genrsa", "1024");
  const ed25519 = await openssl("genpkey", "-algorithm", "ed25519");
  const locked = await openssl("pkey", "-in", pair.keyFile, "-aes256", "-passout", "pass:x");
  const [weakCert, edCert] = await Promise.all(
    [weak, ed25519].map(async (key, index) => {
      const file = `${dir.path}/odd-${index}.key`;
      await Bun.write(file, key);
      return openssl("req", "-x509", "-key", file, "-subj", "/CN=odd", "-days", "2");
    }),
  );
  const { cert, key } = pair;
  const faults: readonly (readonly [Partial<Parameters<typeof parseKeyPair>[0]>, string])[] = [
    [{ cert: "" }, "the certificate file has no certificate in PEM"],
    [{ cert: key }, "the certificate file has no certificate in PEM"],
    [{ cert: cert.replace("MII", "AAA") }, "certificate 1 of the certificate file is invalid"],
    [{ cert: cert + other.cert.replace("MII", "AAA") }, "certificate 2 of the certificate file is invalid"],
    [{ cert: cert.repeat(65) }, "the certificate file has more than 64 certificates"],
    [{ cert: other.cert }, "the key does not belong to the first certificate of the file"],
    [{ key: "" }, "the key file has no private key in PEM"],
    [{ key: cert }, "the key file has no private key in PEM"],
    [{ key: key.slice(0, 120) }, "the key file has no private key in PEM"],
    [{ key: locked }, "the key is encrypted: give one without a passphrase"],
    [{ key: weak, cert: weakCert ?? "" }, "the RSA key has fewer than 2048 bits"],
    [{ key: ed25519, cert: edCert ?? "" }, "the key is not an RSA or ECDSA key"],
    [{ clientCa: "" }, "the file of client authorities has no certificate in PEM"],
  ];
  for (const [changed, message] of faults) {
    expect(() => parseKeyPair({ cert, key, clientCa: undefined, ...changed })).toThrow(new Error(message));
  }
});
