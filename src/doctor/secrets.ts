import { createAdminToken } from "../access/admin-token.ts";
import { type AccessKeys, SECRET_SAFE_MIN_BYTES } from "../access/keys.ts";
import { createAccessKeysSource } from "../access/keys-file.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { faultTextOf } from "../config/text.ts";
import { silentLogger } from "../log/logger.ts";
import type { Finding } from "./finding.ts";

/**
 * Fewest different bytes of a random secret: 16 random bytes have fewer than 8 different ones less than once in 10^9
 * keys. A word, or a byte repeated, has fewer.
 */
const DISTINCT_BYTES_MIN = 8;
const MAKE_KEY = "make keys with: head -c 32 /dev/urandom | base64";

/** Reads the keys of signed routes as the ingress does, and judges their strength. */
export async function checkKeys(
  config: Pick<Config, "secureAccessKeys" | "secureAccessKeysFile">,
  clock: Clock,
): Promise<Finding> {
  const name = "keys";
  const { secureAccessKeys: inline, secureAccessKeysFile: file } = config;
  if (inline === undefined && file === undefined) {
    return { name, state: "skip", detail: "not configured: signed routes get 503, tokens of sandboxes work" };
  }
  const source = createAccessKeysSource({ inline, file, logger: silentLogger, clock });
  try {
    await source.start();
    const keys = source.current();
    return keys === undefined ? { name, state: "fail", detail: "not read" } : { name, ...judgeKeys(keys) };
  } catch (thrown) {
    const remedy = "give the file lines such as a=<base64>, readable for the user of the ingress";
    return { name, state: "fail", detail: faultTextOf(thrown), remedy };
  } finally {
    source.stop();
  }
}

function judgeKeys(keys: AccessKeys): Omit<Finding, "name"> {
  const { ids, weakIds } = keys;
  if (weakIds.length > 0) {
    const detail = `shorter than ${SECRET_SAFE_MIN_BYTES} bytes, so signed links give them away: ${weakIds.join(", ")}`;
    return { state: "fail", detail, remedy: MAKE_KEY };
  }
  const poor = ids.filter((id) => new Set(keys.secretOf(id)).size < DISTINCT_BYTES_MIN);
  if (poor.length > 0) return { state: "fail", detail: `not random: ${poor.join(", ")}`, remedy: MAKE_KEY };
  const detail = `${ids.join(", ")}: at least ${SECRET_SAFE_MIN_BYTES} bytes each; keys do not expire, signed routes do`;
  return { state: "ok", detail };
}

/** Reads the token of the pages for operators as the ingress does. */
export async function checkAdminToken(config: Pick<Config, "adminTokenFile">, clock: Clock): Promise<Finding> {
  const name = "admin-token";
  const file = config.adminTokenFile;
  if (file === undefined) {
    return { name, state: "skip", detail: "not configured: only this machine sees the pages for operators" };
  }
  const token = createAdminToken({ file, logger: silentLogger, clock });
  try {
    await token.start();
    return { name, state: "ok", detail: "usable" };
  } catch (thrown) {
    return {
      name,
      state: "fail",
      detail: faultTextOf(thrown),
      remedy: "make one with: head -c 32 /dev/urandom | base64",
    };
  } finally {
    token.stop();
  }
}
