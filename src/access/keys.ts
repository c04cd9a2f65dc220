import { isKeyId } from "../route/route-syntax.ts";

/**
 * Longest secret, in bytes. Each signature check hashes the secret, and 1 KiB takes only microseconds. SHA-256 gains
 * nothing from more than 64 bytes.
 */
export const SECRET_MAX_BYTES = 1024;

/**
 * Shortest secret without a warning, in bytes: 128 bits cannot be guessed. Anyone with a few signed links can try
 * shorter secrets against them offline.
 */
export const SECRET_SAFE_MIN_BYTES = 16;

/**
 * The keys that sign routes (OSEP-0011): key id → secret. At least one, at most 36. Immutable. Printing or serializing
 * the object does not show the secrets.
 */
export class AccessKeys {
  /** One character `[0-9a-z]` each, in the given order. */
  readonly ids: readonly string[];
  /** The ids of secrets shorter than `SECRET_SAFE_MIN_BYTES`, in the given order. */
  readonly weakIds: readonly string[];
  readonly #secrets: ReadonlyMap<string, Uint8Array>;
  readonly #decoy: Uint8Array;

  /** @param secrets Key id → secret, as checked by `parseAccessKeys`. Throws an Error if empty. */
  constructor(secrets: ReadonlyMap<string, Uint8Array>) {
    const [decoy] = secrets.values();
    if (decoy === undefined) throw new Error("Cannot use access keys: the list is empty");
    this.ids = [...secrets.keys()];
    this.weakIds = [...secrets].filter(([, secret]) => secret.length < SECRET_SAFE_MIN_BYTES).map(([id]) => id);
    this.#secrets = new Map(secrets);
    this.#decoy = decoy;
  }

  /** The secret of a key id; undefined if the key is unknown. Never print it. */
  secretOf(keyId: string): Uint8Array | undefined {
    return this.#secrets.get(keyId);
  }

  /** Any secret, to do the same work for an unknown key id. Results computed with it must not count. */
  decoySecret(): Uint8Array {
    return this.#decoy;
  }
}

/**
 * Parses `--secure-access-keys`: `a=<base64>,b=<base64>`, one to 36 keys (docs/contract.md §3). The base64 is strict
 * (RFC 4648 §4), as in Go's standard decoder: padded, no white space, no stray bits. White space around an entry is
 * ignored.
 *
 * Throws an Error that says which entry is wrong and how. The message never repeats any part of a secret.
 */
export function parseAccessKeys(text: string): AccessKeys {
  const entries = text.split(",").map((entry, index) => ({ text: entry.trim(), place: `entry ${index + 1}` }));
  return parseEntries(entries);
}

/**
 * Parses the content of `--secure-access-keys-file`: each line has the format of `parseAccessKeys`, so one key per line
 * and all keys in one line both work. Blank lines and lines that begin with `#` are skipped. Throws as
 * `parseAccessKeys` does.
 */
export function parseAccessKeysFile(text: string): AccessKeys {
  const entries = text.split("\n").flatMap((line, index) => {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) return [];
    return trimmed.split(",").map((entry) => ({ text: entry.trim(), place: `line ${index + 1}` }));
  });
  if (entries.length === 0) throw new Error("Cannot parse access keys: the file has no key");
  return parseEntries(entries);
}

interface Entry {
  readonly text: string;
  readonly place: string;
}

function parseEntries(entries: readonly Entry[]): AccessKeys {
  const secrets = new Map<string, Uint8Array>();
  for (const entry of entries) {
    const [id, secret] = parseEntry(entry);
    if (secrets.has(id)) throw new Error(`Cannot parse access keys: ${entry.place} repeats key id "${id}"`);
    secrets.set(id, secret);
  }
  return new AccessKeys(secrets);
}

function parseEntry({ text, place }: Entry): readonly [id: string, secret: Uint8Array] {
  const fail = (reason: string): Error => new Error(`Cannot parse access keys: ${place} ${reason}`);
  if (text === "") throw fail("is empty; expected <id>=<base64>");
  // The kubelet leaves a reference to an unset variable as it is (Kubernetes, "Define Dependent Environment
  // Variables"). The message does not repeat its name: if the text is a secret after all, the name would be a part of
  // it.
  if (text.includes("$(")) throw fail("contains a reference to a variable that is not set: $(NAME)");
  const equals = text.indexOf("=");
  if (equals < 0) throw fail("is missing its key id; expected <id>=<base64>");
  const id = text.slice(0, equals);
  // An invalid id may be the beginning of a secret whose id is missing, so the message does not repeat it either.
  if (!isKeyId(id)) {
    throw fail("has an invalid key id; expected one character 0-9 or a-z before the =");
  }
  const base64 = text.slice(equals + 1);
  if (base64 === "") throw fail(`(key id "${id}") has an empty secret`);
  const secret = Buffer.from(base64, "base64");
  if (secret.toString("base64") !== base64) throw fail(`(key id "${id}") is not valid padded base64`);
  if (secret.length > SECRET_MAX_BYTES) throw fail(`(key id "${id}") is longer than ${SECRET_MAX_BYTES} bytes`);
  return [id, new Uint8Array(secret)];
}
