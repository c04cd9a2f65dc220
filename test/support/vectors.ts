import vectors from "../vectors/signatures.json" with { type: "json" };

/** One row of the OSEP-0011 vectors. */
export interface SignatureVector {
  /** In the format of `--secure-access-keys`. */
  readonly key: string;
  readonly sandboxId: string;
  readonly port: number;
  /** Epoch seconds, decimal: too large for a number in one row. */
  readonly expires: string;
  readonly expiresB36: string;
  readonly signature: string;
}

/** Vectors on which the OpenSandbox server's signing code and an independent implementation agree. */
export const SIGNATURE_VECTORS: readonly SignatureVector[] = vectors.vectors;
