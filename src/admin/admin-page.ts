/** The request that a page answers. */
export interface AdminQuery {
  readonly request: Request;
  readonly url: URL;
  /** The address at the other end of the connection; empty: unknown. */
  readonly peer: string;
}

/** One page: a path and its answer. HEAD is answered as GET, without the body. */
export interface AdminPage {
  readonly path: string;
  /** For the index. */
  readonly title: string;
  readonly method: "GET" | "POST";
  readonly answer: (query: AdminQuery) => Response | Promise<Response>;
}
