const EXPECTED = "expected redis://[user:password@]host[:port][/database], rediss://… or unix://[user:password@]/path";

/** Most databases a Redis can be configured with is an int; 16 is its default. */
const DATABASE_TEXT = /^\d{1,9}$/;

/**
 * Checks the form of a Redis address (contract §4): `redis://` and `rediss://` with user, password, host, port and
 * database, or `unix://` with a path and perhaps `?db=`. Throws an Error that repeats nothing of it.
 */
export function checkRedisDsn(text: string): void {
  const scheme = /^(rediss?|unix):\/\//.exec(text)?.[1];
  if (scheme === undefined) throw new Error(EXPECTED);
  // Of two @ the last one ends the password. A URL parser refuses the unix form, whose host is empty.
  const rest = text.slice(scheme.length + "://".length);
  if (scheme === "unix") {
    const [path = "", query = ""] = rest.slice(rest.lastIndexOf("@") + 1).split("?");
    if (!path.startsWith("/") || path.length < 2) throw new Error(EXPECTED);
    checkDatabase(new URLSearchParams(query).get("db"));
    return;
  }
  // Slashes that a URL parser would skip: `redis:///0` names no host.
  const url = rest.startsWith("/") ? null : URL.parse(`http://${rest}`);
  if (url === null || url.hostname === "" || url.hash !== "") throw new Error(EXPECTED);
  checkDatabase(url.searchParams.get("db"));
  if (url.pathname !== "/") checkDatabase(url.pathname.slice(1));
}

function checkDatabase(text: string | null): void {
  if (text !== null && !DATABASE_TEXT.test(text)) throw new Error(`${EXPECTED}; the database must be a number`);
}
