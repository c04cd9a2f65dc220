/** Close codes that the relay itself uses or must recognise (RFC 6455 §7.4.1, and IANA's registry for 1013). */
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

/** Bytes of a close reason (RFC 6455 §5.5: 125 less the code). */
const REASON_MAX_BYTES = 123;

/** Faults of the sandbox, as Bun's client names them, and the code that tells the client of them. */
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

/** What a client is told where its tunnel was cut for one of these codes; for others it depends on who is to blame. */
export const CLOSE_CODE_OF_CUT: Readonly<Record<string, number>> = {
  access_revoked: CLOSE_CODES.policy,
  internal: CLOSE_CODES.internalError,
};

/** The reason where it fits into a Close, else none. */
export function clipReason(reason: string): string {
  return Buffer.byteLength(reason) <= REASON_MAX_BYTES ? reason : "";
}
