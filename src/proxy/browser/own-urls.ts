import type { BrowserView } from "./view.ts";

/** A URL in its parts. It always names a host. */
export interface SplitUrl {
  /** `http`, `https`, or empty for `//host/path`. */
  readonly scheme: string;
  /** In lower case, without the scheme's default port. */
  readonly host: string;
  /** The part after the host: path, query and fragment. Empty, or begins with `/`, `?` or `#`. */
  readonly rest: string;
}

/** Splits `http[s]://host…` and `//host…`; undefined for all other texts. Linear in the length of the text. */
export function splitUrl(url: string): SplitUrl | undefined {
  const scheme = /^(https?):\/\/|^\/\//i.exec(url);
  if (scheme === null) return undefined;
  const name = (scheme[1] ?? "").toLowerCase();
  const start = scheme[0].length;
  const length = url.slice(start).search(/[/?#\\]/);
  const end = length < 0 ? url.length : start + length;
  return { scheme: name, host: normaliseHost(url.slice(start, end), name), rest: url.slice(end) };
}

/** A host in the form for comparison: lower case, without the default port of `scheme`. */
export function normaliseHost(host: string, scheme: string): string {
  const lower = host.toLowerCase();
  const port = scheme === "https" ? ":443" : ":80";
  return lower.endsWith(port) ? lower.slice(0, -port.length) : lower;
}

/** Whether a URL names the origin that the sandbox sees in its requests. */
export function isSandboxOrigin(url: SplitUrl, view: BrowserView): boolean {
  return [view.hostHeader, view.hostPort].some((host) => url.host === normaliseHost(host, url.scheme));
}

/** Whether a URL names the origin that the client sees. */
export function isClientOrigin(url: SplitUrl, view: BrowserView): boolean {
  return [view.requestHost, view.clientHost].some(
    (host) => host !== "" && url.host === normaliseHost(host, url.scheme),
  );
}

/** Whether a path is `prefix` or lies below it. */
export function isBelow(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false;
  return path.length === prefix.length || "/?#".includes(path.charAt(prefix.length));
}
