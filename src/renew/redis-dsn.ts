/** The address of Redis and the log-in, from a DSN. */
export interface RedisTarget {
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string };
  readonly tls: boolean;
  readonly username: string | undefined;
  /** Never logged. */
  readonly password: string | undefined;
  /** Database number, 0 by default. */
  readonly database: number;
  /** Address and database without any credential, for the log. */
  readonly label: string;
}

const DEFAULT_PORT = 6379;
/** Redis allows as many databases as `databases` in its configuration. A larger number than this is a mistake. */
const DATABASE_MAX = 65_535;

/**
 * Options that go-redis reads from the query of a DSN beside `db`. All of them tune a connection pool, which this
 * client does not have. They are ignored, so that a DSN for the Go ingress still works.
 */
const IGNORED_OPTIONS: ReadonlySet<string> = new Set([
  "client_name",
  "conn_max_idle_time",
  "conn_max_lifetime",
  "context_timeout_enabled",
  "dial_timeout",
  "idle_timeout",
  "max_active_conns",
  "max_conn_age",
  "max_idle_conns",
  "max_retries",
  "max_retry_backoff",
  "min_idle_conns",
  "min_retry_backoff",
  "pool_fifo",
  "pool_size",
  "pool_timeout",
  "protocol",
  "read_timeout",
  "write_timeout",
]);

/**
 * Parses the DSN forms of go-redis, which existing deployments use:
 *
 *     redis[s]://[[user]:password@][host][:port][/db][?db=n]     localhost, 6379, 0
 *     unix://[[user]:password@]/path/to/redis.sock[?db=n]
 *
 * User, password and socket path are percent-decoded. `?db=` overrides `/db`. `URL` cannot parse these forms, because
 * it refuses credentials without a host. Throws an Error whose message never contains a part of the text.
 */
export function parseRedisDsn(text: string): RedisTarget {
  const match = /^(redis|rediss|unix):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/i.exec(text.trim());
  if (match === null) throw invalid("expected redis://, rediss:// or unix://, percent-encode / ? # in a password");
  const [, scheme = "", authority = "", path = "", query = ""] = match;
  const at = authority.lastIndexOf("@");
  const login = parseLogin(at < 0 ? "" : authority.slice(0, at));
  const host = authority.slice(at + 1);
  const queryDatabase = parseQuery(query);
  if (scheme.toLowerCase() === "unix") {
    if (host !== "") throw invalid("a socket's path begins with /");
    if (path.length < 2) throw invalid("the socket's path is missing");
    const socket = decode(path, "path");
    const database = queryDatabase ?? 0;
    return { address: { path: socket }, tls: false, ...login, database, label: `${socket} db ${database}` };
  }
  const database = queryDatabase ?? (path === "" || path === "/" ? 0 : parseDatabase(path.slice(1)));
  const address = parseHostPort(host);
  const shownHost = address.host.includes(":") ? `[${address.host}]` : address.host;
  const label = `${shownHost}:${address.port}/${database}`;
  return { address, tls: scheme.toLowerCase() === "rediss", ...login, database, label };
}

/** Without a password no log-in is sent, as in the Go ingress. */
function parseLogin(userinfo: string): Pick<RedisTarget, "username" | "password"> {
  const colon = userinfo.indexOf(":");
  const username = decode(colon < 0 ? userinfo : userinfo.slice(0, colon), "user");
  const password = colon < 0 ? "" : decode(userinfo.slice(colon + 1), "password");
  if (password === "") return { username: undefined, password: undefined };
  return { username: username === "" ? undefined : username, password };
}

/** Accepts few characters: the result is logged, and must not be a misplaced piece of a password. */
function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]*))(?::(\d{1,5}))?$/i.exec(text);
  if (match === null) throw invalid("expected host or host:port");
  const [, ipv6, name, portText] = match;
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  if (port < 1 || port > 65_535) throw invalid("the port must be between 1 and 65535");
  const host = ipv6 ?? name ?? "";
  return { host: host === "" ? "localhost" : host, port };
}

function parseQuery(query: string): number | undefined {
  let database: number | undefined;
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === "db") database = parseDatabase(value);
    else if (!IGNORED_OPTIONS.has(name)) throw invalid("unknown option in the query; expected db");
  }
  return database;
}

function parseDatabase(text: string): number {
  const database = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(database <= DATABASE_MAX)) throw invalid(`the database must be a number between 0 and ${DATABASE_MAX}`);
  return database;
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`${what} is not percent-encoded UTF-8`);
  }
}

function invalid(problem: string): Error {
  return new Error(`Cannot parse Redis DSN: ${problem}`);
}
