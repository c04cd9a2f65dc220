import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

/** A certificate with its key, checked. */
export interface KeyPair {
  /** PEM: the certificate, and those between it and its root. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** PEM: who may sign certificates of clients; undefined: clients need none. */
  readonly clientCa: string | undefined;
  /** The names and addresses of the certificate, as OpenSSL writes them; else its subject. */
  readonly names: string;
  /** SHA-256 of the certificate, in hexadecimal with colons. */
  readonly fingerprint: string;
  /** Wall-clock milliseconds when the first certificate begins to be valid. */
  readonly validFromMs: number;
  /** Wall-clock milliseconds when the first of all certificates in the file ends to be valid. */
  readonly validToMs: number;
}

/** Texts of files in PEM. */
export interface KeyPairTexts {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
}

/** Certificates of a chain or of client authorities at most: real chains have two to four. */
const CERTIFICATES_MAX = 64;
/** Shorter RSA keys are refused by today's clients (NIST SP 800-131A). */
const RSA_MIN_BITS = 2_048;
/** Names that a log line shows, in characters. */
const NAMES_MAX_CHARS = 200;
const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * Checks that a server can be opened with these texts. Throws an Error that says which is wrong and how, without
 * anything of the key. Dates are the caller's affair.
 */
export function parseKeyPair(texts: KeyPairTexts): KeyPair {
  const chain = parseCertificates(texts.cert, "the certificate file");
  const [leaf] = chain;
  if (leaf === undefined) throw new Error("the certificate file has no certificate in PEM");
  const key = parseKey(texts.key);
  if (!leaf.checkPrivateKey(key)) throw new Error("the key does not belong to the first certificate of the file");
  const { clientCa } = texts;
  if (clientCa !== undefined && parseCertificates(clientCa, "the file of client authorities").length === 0) {
    throw new Error("the file of client authorities has no certificate in PEM");
  }
  const ends = chain.map((certificate) => Date.parse(certificate.validTo));
  return {
    ...texts,
    names: (leaf.subjectAltName ?? leaf.subject ?? "").replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, NAMES_MAX_CHARS),
    fingerprint: leaf.fingerprint256,
    validFromMs: Date.parse(leaf.validFrom),
    validToMs: Math.min(...ends),
  };
}

function parseCertificates(text: string, what: string): readonly X509Certificate[] {
  const blocks = text.match(BLOCK) ?? [];
  if (blocks.length > CERTIFICATES_MAX) throw new Error(`${what} has more than ${CERTIFICATES_MAX} certificates`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new Error(`certificate ${index + 1} of ${what} is invalid`);
    }
  });
}

function parseKey(text: string): KeyObject {
  const key = readKey(text);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type !== "rsa" && type !== "ec") throw new Error("the key is not an RSA or ECDSA key");
  if (type === "rsa" && (details?.modulusLength ?? 0) < RSA_MIN_BITS) {
    throw new Error(`the RSA key has fewer than ${RSA_MIN_BITS} bits`);
  }
  return key;
}

function readKey(text: string): KeyObject {
  if (/ENCRYPTED/.test(text)) throw new Error("the key is encrypted: give one without a passphrase");
  try {
    return createPrivateKey(text);
  } catch {
    // What the library says is not passed on: it may have something of the key.
    throw new Error("the key file has no private key in PEM");
  }
}
