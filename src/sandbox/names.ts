import { createHash } from "node:crypto";

/** RFC 1035 §2.3.1, which Kubernetes requires of a Service's name. */
const LABEL_MAX_CHARS = 63;
/** 63 without a hyphen and the eight digits of the hash. */
const CUT_MAX_CHARS = 54;
const HASH_CHARS = 8;
/** Kubernetes refuses longer names, so longer ids are not looked up. */
const NAME_MAX_CHARS = 253;
const PREFIX = "sandbox-";

/**
 * The possible names of an AgentSandbox with this id, in the order in which to look (docs/contract.md §1): its DNS-1035
 * form, the id itself, the id after `sandbox-`. Linear in the id's length; never empty, at most three.
 */
export function sandboxNameCandidates(id: string): readonly string[] {
  const names = [toDnsLabel(id)];
  for (const name of [id, id.startsWith(PREFIX) ? id : PREFIX + id]) {
    if (name.length <= NAME_MAX_CHARS && !names.includes(name)) names.push(name);
  }
  return names;
}

function toDnsLabel(id: string): string {
  if (id.length <= LABEL_MAX_CHARS && isPlainDns1035Label(id)) return id;
  // Go lower-cases U+0130 to a plain i. JavaScript makes two characters of it.
  const lower = id.replaceAll("\u0130", "i").toLowerCase();
  const plain = trimHyphens(lower.replaceAll(/[^a-z0-9]+/g, "-"));
  if (plain === "") return PREFIX + hashOf(id);
  const label = /^[a-z]/.test(plain) ? plain : PREFIX + plain;
  if (label.length <= LABEL_MAX_CHARS) return label;
  return `${trimHyphens(label.slice(0, CUT_MAX_CHARS))}-${hashOf(id)}`;
}

/** Whether a text is already its own DNS-1035 form. */
function isPlainDns1035Label(text: string): boolean {
  return /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/.test(text);
}

/** Expects a text without two hyphens in a row. */
function trimHyphens(text: string): string {
  return text.slice(text.startsWith("-") ? 1 : 0, text.endsWith("-") ? -1 : undefined);
}

function hashOf(id: string): string {
  return createHash("sha256").update(id).digest("hex").slice(0, HASH_CHARS);
}
