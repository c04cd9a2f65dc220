/** How a request named its sandbox; a metric label and a log field. */
export type RouteForm = "header" | "host" | "uri";

/** The form, for logs and metrics; `none`: the request names no route. */
export type RouteFormLabel = RouteForm | "none";

/** Where routes are looked for: `--mode`. */
export type RouteMode = "header" | "uri";

/** The credential in a signed route: what OSEP-0011 calls a signed route's expiry and signature. Never logged. */
export interface RouteSignature {
  /** Lower-case base 36 of a uint64 epoch second, as it stands in the route: 1–13 characters. */
  readonly expiresB36: string;
  /** Nine characters: eight hex digits and the key id. */
  readonly signature: string;
}

/** What a request asks for. Syntax only: whether the sandbox exists is not known here. */
export interface Route {
  readonly form: RouteForm;
  /** As taken from the request; the host form's is lower-cased. */
  readonly sandboxId: string;
  /** 1–65535. */
  readonly port: number;
  /** The path to forward when the route counts as plain: begins with `/`, carries no query. */
  readonly path: string;
  /** Present when the route looks signed. */
  readonly signature: RouteSignature | undefined;
  /** The path to forward when the signature counts. Differs from `path` in the URI form only. */
  readonly signedPath: string;
  /** `X-Forwarded-Prefix`: `/<id>/<port>` in the URI form, else empty. Never carries the signature. */
  readonly prefix: string;
}
