/** One span that is over. */
export interface Span {
  readonly name: string;
  readonly kind: "server" | "client";
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: the span begins its trace. */
  readonly parentSpanId: string | undefined;
  /** Milliseconds since the epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly isError: boolean;
  /** Never a path, a query, a header, an address or a body. */
  readonly attributes: Readonly<Record<string, string | number>>;
}
