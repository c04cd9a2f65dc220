import { type AccessKeys, parseAccessKeysFile } from "../access/keys.ts";
import { isExpired, verifySignature } from "../access/signature.ts";
import {
  collectFault,
  type CommandResult,
  type CommandSeams,
  formatRows,
  parseKeyFlag,
  readCommandArguments,
  usageResult,
} from "./command-line.ts";
import { formatEpochSeconds, parseBase36 } from "../route/expiry.ts";
import { faultTextOf } from "../config/text.ts";
import { parseRoute, ROUTE_HEADER, type RouteInput } from "../route/parse-route.ts";
import type { Route, RouteMode } from "../route/route.ts";

const VERIFY_FLAGS = ["key", "keys-file"] as const;

const VERIFY_USAGE = `Usage: ingress verify <route> [--key <id>=<base64|@file> | --keys-file <file>]

Checks whether the ingress would accept a signed route (OSEP-0011) to a secured sandbox. If not, says why. The route is a
URL, a path, a host name or a value of ${ROUTE_HEADER}. Exit code: 0 accepted, 1 refused, 2 invalid command line.

  --key        the key: its id, and its secret as base64 or in a file that holds the base64; or several keys, as in
               --secure-access-keys. Other users can see a secret on the command line: prefer a file
  --keys-file  the file with the keys, as in --secure-access-keys-file
`;

/**
 * `ingress verify`: says why a signed route is refused. Pure except for `readFile`. Never throws, never prints a
 * secret.
 */
export function runVerifyCommand(args: readonly string[], seams: CommandSeams): CommandResult {
  const { flags, positionals, faults: syntaxFaults, wantsHelp } = readCommandArguments(args, VERIFY_FLAGS);
  if (wantsHelp) return { stdout: VERIFY_USAGE, stderr: "", exitCode: 0 };
  const faults = [...syntaxFaults];
  const [text] = positionals;
  if (text === undefined || positionals.length > 1) faults.push("expected one route");
  const inline = flags.get("key");
  const file = flags.get("keys-file");
  if (inline !== undefined && file !== undefined) faults.push("--key and --keys-file: give only one of them");
  const readInline = () => (inline === undefined ? undefined : parseKeyFlag(inline, seams.readFile));
  const readFile = () => (file === undefined ? undefined : parseAccessKeysFile(seams.readFile(file)));
  const keys = collectFault(faults, "--key", readInline) ?? collectFault(faults, "--keys-file", readFile);
  if (text === undefined || faults.length > 0) return usageResult("verify", VERIFY_USAGE, faults);
  try {
    return judge(findRoute(text.trim()), keys, seams.nowMs);
  } catch (thrown) {
    return { stdout: `refused: ${faultTextOf(thrown)}\n`, stderr: "", exitCode: 1 };
  }
}

function judge(route: Route, keys: AccessKeys | undefined, nowMs: number): CommandResult {
  const { signature } = route;
  const rows: (readonly [string, string])[] = [
    ["form", route.form],
    ["sandbox", route.sandboxId],
    ["port", String(route.port)],
  ];
  const reasons: string[] = [];
  if (signature === undefined) {
    reasons.push("the route is not signed: its expiry and signature are missing or malformed");
  } else {
    const expires = formatEpochSeconds(parseBase36(signature.expiresB36));
    const keyId = signature.signature.slice(-1);
    rows.push(["expires", expires], ["key id", keyId]);
    if (isExpired(signature.expiresB36, nowMs)) reasons.push(`the route has expired: it was valid until ${expires}`);
    const reason = explainSignature({ ...route, signature }, keys, keyId);
    if (reason !== undefined) reasons.push(reason);
  }
  const verdict = reasons.length === 0 ? "valid\n" : reasons.map((reason) => `refused: ${reason}\n`).join("");
  return { stdout: formatRows(rows) + verdict, stderr: "", exitCode: reasons.length === 0 ? 0 : 1 };
}

function explainSignature(
  target: Parameters<typeof verifySignature>[1],
  keys: AccessKeys | undefined,
  keyId: string,
): string | undefined {
  if (keys === undefined) return "cannot check the signature: --key and --keys-file are missing";
  const verdict = verifySignature(keys, target);
  if (verdict === "valid") return undefined;
  if (verdict === "unknown-key") return `key "${keyId}" is unknown: the known keys are ${keys.ids.join(", ")}`;
  return `the signature does not match: key "${keyId}" has a different secret, or the id, port or expiry was changed`;
}

/** Reads a route in any form. Throws an Error if it is not a route. */
function findRoute(text: string): Route {
  const field = `${ROUTE_HEADER}:`;
  if (text.slice(0, field.length).toLowerCase() === field.toLowerCase())
    return read("header", text.slice(field.length));
  if (text.startsWith("/")) return read("uri", text);
  if (text.includes("/")) return findRouteInUrl(text);
  return read(/[.:]/.test(text) ? "host" : "header", text);
}

/** A URL can have a route in its host or in its path. The signed one wins. */
function findRouteInUrl(text: string): Route {
  const absolute = text.includes("://") ? text : `https://${text}`;
  if (!URL.canParse(absolute)) throw new Error("the text is not a URL");
  const url = new URL(absolute);
  const candidates = [() => read("host", url.host), () => read("uri", url.pathname)];
  const routes: Route[] = [];
  let failure: unknown;
  for (const candidate of candidates) {
    try {
      routes.push(candidate());
    } catch (thrown) {
      failure = thrown;
    }
  }
  const route = routes.find((each) => each.signature !== undefined) ?? routes[0];
  if (route === undefined) throw failure instanceof Error ? failure : new Error("the URL names no sandbox");
  return route;
}

function read(form: Route["form"], text: string): Route {
  const mode: RouteMode = form === "uri" ? "uri" : "header";
  const headers = new Headers(form === "header" ? { [ROUTE_HEADER]: text } : {});
  const path = form === "uri" ? new URL(`https://ingress.invalid${text}`).pathname : "/";
  const input: RouteInput = { path, headers, host: form === "host" ? text : "" };
  return parseRoute(input, mode);
}
