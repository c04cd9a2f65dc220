/** Origins that may be listed. Each with `*.` is compared with the `Origin` of each request. */
const ORIGINS_MAX = 64;

/** `<scheme>://[*.]<host>[:<port>]`; what the host may be is for the URL parser to say. */
const ORIGIN =
  /^([a-z][a-z0-9+.-]{0,31}):\/\/(\*\.)?([^\s/?#\\@*:[\]]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([1-9]\d{0,4}))?$/i;

const EXPECTED = "expected origins separated by commas, such as https://app.example.com or https://*.example.com";

/**
 * Parses `--cors-origins` into origins as browsers write them: lower case, without default ports, international names in their
 * ASCII form; each once. `*.` before the host of an http or https origin stands for one label or more, and needs a domain of
 * two labels behind it, or `localhost`. Throws an Error.
 */
export function parseCorsOrigins(text: string): readonly string[] {
  if (text.trim() === "") return [];
  const parts = text.split(",");
  if (parts.length > ORIGINS_MAX) throw new Error(`at most ${ORIGINS_MAX} origins may be listed`);
  return [...new Set(parts.map((part) => parseOrigin(part.trim())))];
}

function parseOrigin(text: string): string {
  const [, scheme = "", wildcard = "", host = "", port = ""] = ORIGIN.exec(text) ?? [];
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

/** Whether below a name lies what belongs to one owner: neither all of a top-level domain nor an address. */
function isDomain(hostname: string): boolean {
  return hostname === "localhost" || (/\.[^.]*[a-z][^.]*$/.test(hostname) && !hostname.startsWith("."));
}
