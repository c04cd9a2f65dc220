/** What a page answers from. */
export interface AdminQuery {
  readonly request: Request;
  readonly url: URL;
  /** The address at the other end of the connection; empty: it is not known. */
  readonly peer: string;
}

/** One page: a path, and what it answers. HEAD is GET without the body. */
export interface AdminPage {
  readonly path: string;
  /** For the index. */
  readonly title: string;
  readonly method: "GET" | "POST";
  readonly answer: (query: AdminQuery) => Response | Promise<Response>;
}
