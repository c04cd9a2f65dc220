/** Origins that one list may have. Each with `*.` is compared with the `Origin` of each request. */
const ORIGINS_MAX = 64;

/** `<scheme>://[*.]<host>[:<port>]`; what the host may be is for the URL parser to say. */
const LISTED =
  /^([a-z][a-z0-9+.-]{0,31}):\/\/(\*\.)?([^\s/?#\\@*:[\]]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([1-9]\d{0,4}))?$/i;

const EXPECTED = "expected origins separated by commas, such as https://app.example.com or https://*.example.com";

/**
 * Parses `--cors-origins` and the annotation `allowed-origins` into origins as browsers write them: lower case, without default ports, international names in their
 * ASCII form; each once. `*.` before the host of an http or https origin stands for one label or more, and needs a domain of
 * two labels behind it, or `localhost`. Throws an Error.
 */
export function parseOrigins(text: string): readonly string[] {
  if (text.trim() === "") return [];
  const parts = text.split(",");
  if (parts.length > ORIGINS_MAX) throw new Error(`at most ${ORIGINS_MAX} origins may be listed`);
  return [...new Set(parts.map((part) => parseOrigin(part.trim())))];
}

function parseOrigin(text: string): string {
  const [, scheme = "", wildcard = "", host = "", port = ""] = LISTED.exec(text) ?? [];
  const isWeb = /^https?$/i.test(scheme);
  // Only http and https have hosts that the parser knows; an extension's or an app's is taken as it stands.
  const url = URL.parse(`${isWeb ? scheme : "http"}://${host}${port === "" ? "" : `:${port}`}`);
  if (host === "" || url === null) throw new Error(EXPECTED);
  if (!isWeb) {
    if (wildcard !== "") throw new Error(EXPECTED);
    return text.toLowerCase();
  }
  if (wildcard !== "" && !isDomain(url.hostname)) throw new Error(EXPECTED);
  return `${scheme.toLowerCase()}://${wildcard}${url.host}`;
}

/** `<scheme>://<host>[:<port>]` in lower case, as browsers write an origin (RFC 6454 §6.2). Every repetition is bounded. */
const SENT = /^[a-z][a-z0-9+.-]{0,31}:\/\/(?:[a-z0-9_-][a-z0-9._-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/;

/** A set of origins. */
export interface OriginSet {
  /** @param origin The value of an `Origin`, of any length and content. `null` is in no set. */
  has(origin: string): boolean;
}

/**
 * @param allowed From `parseOrigins`. The host of one may begin with `*.`, which stands for one label or more, as in a Content
 * Security Policy (CSP Level 3 §6.7.2.8).
 */
export function createOriginSet(allowed: readonly string[]): OriginSet {
  // One text takes a fifth of the memory of sets and lists, and each of many sandboxes may have one. No origin has a comma.
  const list = ["", ...allowed, ""].join(",");
  const isListed = (origin: string): boolean => list.includes(`,${origin},`);
  const hasWildcard = list.includes("*");
  return {
    has(sent) {
      const origin = sent.toLowerCase();
      if (!SENT.test(origin)) return false;
      if (isListed(origin)) return true;
      if (!hasWildcard) return false;
      const host = origin.indexOf("://") + "://".length;
      // A host begins with no dot, so there is something before the first.
      for (let dot = origin.indexOf(".", host); dot > 0; dot = origin.indexOf(".", dot + 1)) {
        if (isListed(`${origin.slice(0, host)}*${origin.slice(dot)}`)) return true;
      }
      return false;
    },
  };
}

/** Whether below a name lies what belongs to one owner: neither all of a top-level domain nor an address. */
function isDomain(hostname: string): boolean {
  return hostname === "localhost" || (/\.[^.]*[a-z][^.]*$/.test(hostname) && !hostname.startsWith("."));
}
