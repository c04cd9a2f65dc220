/** The two ends of a tunnel. */
export type End = "client" | "sandbox";

/** Close codes that the relay uses or must recognise (RFC 6455 §7.4.1; IANA's registry for 1013). */
export const CLOSE_CODES = {
  goingAway: 1001,
  protocolError: 1002,
  /** Never on the wire: a Close without a code. */
  noStatus: 1005,
  /** Never on the wire: the connection ended without a Close. */
  abnormal: 1006,
  invalidData: 1007,
  policy: 1008,
  tooBig: 1009,
  internalError: 1011,
  tryAgainLater: 1013,
} as const;

/** The longest close reason in bytes: 125 without the two bytes of the code (RFC 6455 §5.5). */
const REASON_MAX_BYTES = 123;

/** Protocol faults of the sandbox, as Bun's client names them, and the code that the client gets. */
export const CLOSE_CODE_OF_FAULT: Readonly<Record<string, number>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: CLOSE_CODES.tooBig,
  WS_ERR_INVALID_UTF8: CLOSE_CODES.invalidData,
  WS_ERR_INVALID_OPCODE: CLOSE_CODES.protocolError,
  WS_ERR_UNEXPECTED_RSV_1: CLOSE_CODES.protocolError,
  WS_ERR_UNEXPECTED_RSV_2_3: CLOSE_CODES.protocolError,
  WS_ERR_EXPECTED_FIN: CLOSE_CODES.protocolError,
  WS_ERR_UNEXPECTED_MASK: CLOSE_CODES.protocolError,
  WS_ERR_INVALID_CLOSE_CODE: CLOSE_CODES.protocolError,
  WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH: CLOSE_CODES.protocolError,
};

/**
 * The close code for a client whose tunnel was cut for one of these reasons. For other reasons it depends on which side
 * is at fault.
 */
export const CLOSE_CODE_OF_CUT: Readonly<Record<string, number>> = {
  access_revoked: CLOSE_CODES.policy,
  internal: CLOSE_CODES.internalError,
};

/** The reason if it fits into a Close, else empty. */
export function clipReason(reason: string): string {
  return Buffer.byteLength(reason) <= REASON_MAX_BYTES ? reason : "";
}
