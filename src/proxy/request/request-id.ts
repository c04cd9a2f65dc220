/** Identifies a request in the sandbox's log, in the ingress's log, and to the client. */
export const REQUEST_ID_HEADER = "x-request-id";

/**
 * The longest request id that a client may send, in characters. A UUID, a W3C trace context or a ULID with a prefix
 * fits.
 */
const REQUEST_ID_MAX_LENGTH = 128;

/** Visible ASCII (RFC 5234 VCHAR). Two fields arrive joined by a space, which is not a valid id. */
const REQUEST_ID = new RegExp(`^[\\x21-\\x7e]{1,${REQUEST_ID_MAX_LENGTH}}$`);

/**
 * Returns the id of a request.
 * @param field The client's `X-Request-Id`. It is used if it has 1 to 128 visible ASCII characters; else a new id is
 * made.
 */
export type TakeRequestId = (field: string | null | undefined) => string;

/**
 * Creates the function that makes ids. New ids consist of the instance and a counter: unique, but not secret.
 * @param instance Distinguishes the ids of two replicas or two starts.
 */
export function createRequestIds(instance: string): TakeRequestId {
  let made = 0;
  return (field) => {
    if (field !== null && field !== undefined && REQUEST_ID.test(field)) return field;
    return `${instance}-${(++made).toString(36)}`;
  };
}
