import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { createSecretDigester, isEqualDigest, type SecretDigest } from "./secret-digest.ts";
import { SecretFile } from "./secret-file.ts";

/** Least bytes of the token: 128 bits where they are random, which nobody can try out. */
export const ADMIN_TOKEN_MIN_BYTES = 16;

/** Longest token, in bytes: it comes in a header with each request and is hashed each time. */
export const ADMIN_TOKEN_MAX_BYTES = 1_024;

/** The token that opens the operator's pages to clients of other machines. */
export interface AdminToken {
  /** Whether there is one: without it nobody is asked for it. */
  readonly isConfigured: boolean;
  /** Compares in constant time; see `isEqualDigest`. False where there is no token, or before `start`. */
  matches(presented: string): boolean;
  /** Rejects with an Error that says what is wrong, without any part of the token. */
  start(): Promise<void>;
  /** Ends the watch; the token stays. Idempotent. */
  stop(): void;
}

export interface AdminTokenOptions {
  /** `--admin-token-file`; undefined: not given. */
  readonly file: string | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Creates the token from a watched file. Only a salted digest of it is kept. */
export function createAdminToken({ file, logger, clock }: AdminTokenOptions): AdminToken {
  if (file === undefined) {
    return { isConfigured: false, matches: () => false, start: () => Promise.resolve(), stop() {} };
  }
  const digester = createSecretDigester();
  const source = new SecretFile<SecretDigest>({
    path: file,
    parse: (text) => digester.digest(parseAdminToken(text)),
    texts: {
      cannotRead: "Cannot read the admin token",
      notUsable: "cannot use the admin token file, keeping the earlier token",
      readAgain: "admin token read again",
    },
    logger,
    clock,
  });
  return {
    isConfigured: true,
    matches(presented) {
      const digest = source.current();
      return digest !== undefined && isEqualDigest(digester.digest(presented), digest);
    },
    start: () => source.start(),
    stop: () => source.stop(),
  };
}

/**
 * The token in the text of its file: one line of visible ASCII (RFC 5234 VCHAR), white space around it dropped, since it
 * has to fit into a header. Throws an Error that says what is wrong and nothing of the token.
 */
export function parseAdminToken(text: string): string {
  const token = text.trim();
  if (!/^[\x21-\x7e]*$/.test(token)) {
    throw new Error("Cannot use the admin token: expected one line of visible ASCII characters without spaces");
  }
  if (token.length < ADMIN_TOKEN_MIN_BYTES || token.length > ADMIN_TOKEN_MAX_BYTES) {
    throw new Error(
      `Cannot use the admin token: it must have ${ADMIN_TOKEN_MIN_BYTES} to ${ADMIN_TOKEN_MAX_BYTES} characters`,
    );
  }
  return token;
}
