/** Names a request in the sandbox's log, in ours, and to the client. */
export const REQUEST_ID_HEADER = "x-request-id";

/** Characters that a client's id may have: enough for a UUID, a W3C trace context or a ULID with a prefix. */
const REQUEST_ID_MAX_LENGTH = 128;

/** Visible ASCII (RFC 5234 VCHAR). Two fields reach us joined with a space, so that they are no id. */
const REQUEST_ID = new RegExp(`^[\\x21-\\x7e]{1,${REQUEST_ID_MAX_LENGTH}}$`);

/**
 * Gives the id of a request.
 * @param field The client's `X-Request-Id`: used as it is when it has 1–128 visible ASCII characters; else an id is made.
 */
export type TakeRequestId = (field: string | null | undefined) => string;

/**
 * Made ids are unique, not secret: the instance and a counter.
 * @param instance Tells the ids of two replicas or two starts apart.
 */
export function createRequestIds(instance: string): TakeRequestId {
  let made = 0;
  return (field) => {
    if (field !== null && field !== undefined && REQUEST_ID.test(field)) return field;
    return `${instance}-${(++made).toString(36)}`;
  };
}
