/** How a request names its sandbox: a metric label and a log field. */
export type RouteForm = "header" | "host" | "uri";

/** The form for logs and metrics. `none`: the request names no sandbox. */
export type RouteFormLabel = RouteForm | "none";

/** Where the ingress looks for routes: `--mode`. */
export type RouteMode = "header" | "uri";

/** The credential in a signed route: its expiry and signature (OSEP-0011). Never logged. */
export interface RouteSignature {
  /** Lower-case base 36 of a uint64 epoch second, as in the route: 1–13 characters. */
  readonly expiresB36: string;
  /** Nine characters: eight hex digits and the key id. */
  readonly signature: string;
}

/** The target of a request, by its syntax alone: the sandbox may not exist. */
export interface Route {
  readonly form: RouteForm;
  /** As in the request; lower case in the host form. */
  readonly sandboxId: string;
  /** 1–65535. */
  readonly port: number;
  /** The path to forward if the route counts as plain: begins with `/`, has no query. */
  readonly path: string;
  /** Present if the route looks signed. */
  readonly signature: RouteSignature | undefined;
  /** The path to forward if the signature counts. Differs from `path` only in the URI form. */
  readonly signedPath: string;
  /** `X-Forwarded-Prefix`: `/<id>/<port>` in the URI form, else empty. Never contains the signature. */
  readonly prefix: string;
}
