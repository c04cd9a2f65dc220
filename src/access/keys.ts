import { isBase36Code } from "../route/route-syntax.ts";

/**
 * Longest secret, in bytes: a signature check hashes the secret each time, and 1 KiB keeps it a matter of
 * microseconds. SHA-256 gains nothing from more than 64.
 */
export const SECRET_MAX_BYTES = 1024;

/**
 * Least bytes of a secret that is not warned of: 128 bits, which nobody can try out. Who has a few signed links can try
 * shorter secrets against them without asking us.
 */
export const SECRET_SAFE_MIN_BYTES = 16;

/**
 * The keys that sign routes (OSEP-0011): key id → secret. At least one, at most 36. Immutable; the secrets are out of
 * reach of anything that prints or serializes an object.
 */
export class AccessKeys {
  /** One character `[0-9a-z]` each, in the order given. */
  readonly ids: readonly string[];
  /** The ids of secrets under `SECRET_SAFE_MIN_BYTES`, in the order given. */
  readonly weakIds: readonly string[];
  readonly #secrets: ReadonlyMap<string, Uint8Array>;
  readonly #decoy: Uint8Array;

  /** @param secrets Key id → secret, as `parseAccessKeys` has checked them. Throws an Error where there is none. */
  constructor(secrets: ReadonlyMap<string, Uint8Array>) {
    const [decoy] = secrets.values();
    if (decoy === undefined) throw new Error("Cannot use access keys: there is none");
    this.ids = [...secrets.keys()];
    this.weakIds = [...secrets].filter(([, secret]) => secret.length < SECRET_SAFE_MIN_BYTES).map(([id]) => id);
    this.#secrets = new Map(secrets);
    this.#decoy = decoy;
  }

  /** The secret of a key id; undefined where there is no such key. Never print it. */
  secretOf(keyId: string): Uint8Array | undefined {
    return this.#secrets.get(keyId);
  }

  /** Some secret, to do the same work for a key id that does not exist. What is computed with it must not count. */
  decoySecret(): Uint8Array {
    return this.#decoy;
  }
}

/**
 * Parses `--secure-access-keys`: `a=<base64>,b=<base64>`, one to 36 keys (docs/contract.md §3). Base64 is RFC 4648 §4,
 * strict:
 * padded, no white space, no stray bits, as Go's standard decoder wants it. White space around an entry is dropped.
 *
 * Throws an Error that says which entry is wrong and how; it never carries anything that could be of a secret.
 */
export function parseAccessKeys(text: string): AccessKeys {
  const entries = text.split(",").map((entry, index) => ({ text: entry.trim(), place: `entry ${index + 1}` }));
  return parseEntries(entries);
}

/**
 * Parses the content of `--secure-access-keys-file`: lines of what `parseAccessKeys` takes, so that one key a line and
 * all in one line both work. Blank lines and lines that begin with `#` are skipped. Throws as `parseAccessKeys` does.
 */
export function parseAccessKeysFile(text: string): AccessKeys {
  const entries = text.split("\n").flatMap((line, index) => {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) return [];
    return trimmed.split(",").map((entry) => ({ text: entry.trim(), place: `line ${index + 1}` }));
  });
  if (entries.length === 0) throw new Error("Cannot parse access keys: the file holds no key");
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
  // The kubelet leaves a reference to a variable that is not set as it stands (Kubernetes, "Define Dependent
  // Environment Variables"). Its name is not repeated: where the text is a secret after all, it would be a part of it.
  if (text.includes("$(")) throw fail("holds a reference to a variable that is not set: $(NAME)");
  const equals = text.indexOf("=");
  if (equals < 0) throw fail("has no key id; expected <id>=<base64>");
  const id = text.slice(0, equals);
  // A text that is no id may be the beginning of a secret that lost its id: it is not repeated either.
  if (id.length !== 1 || !isBase36Code(id.charCodeAt(0))) {
    throw fail("has an invalid key id; expected one character 0-9 or a-z before the =");
  }
  const base64 = text.slice(equals + 1);
  if (base64 === "") throw fail(`(key id "${id}") has an empty secret`);
  const secret = Buffer.from(base64, "base64");
  if (secret.toString("base64") !== base64) throw fail(`(key id "${id}") is not valid padded base64`);
  if (secret.length > SECRET_MAX_BYTES) throw fail(`(key id "${id}") is longer than ${SECRET_MAX_BYTES} bytes`);
  return [id, new Uint8Array(secret)];
}
