/** How a request came in. Each server of the traffic ports has one. */
export interface Door {
  /** How the client speaks to this ingress. */
  readonly scheme: "http" | "https";
  /** Whether its server no longer accepts connections. Its answers then close theirs, or clients would use them again. */
  isRetired: boolean;
}
