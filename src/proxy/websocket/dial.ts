import type { IncomingMessage } from "node:http";

import { WebSocket } from "ws";

import { IngressError, toIngressError } from "../../errors.ts";
import { checkAnswerStatus } from "../http/answer-status.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { toUpstreamError } from "../upstream/errors.ts";

/** The sandbox's end of a tunnel: Bun's own client, with the interface of the package `ws`. */
export type UpstreamSocket = WebSocket;

/** A frame that arrived between the sandbox's handshake and the client's. */
export type EarlyFrame =
  | { readonly kind: "message"; readonly data: Buffer; readonly binary: boolean }
  | { readonly kind: "ping"; readonly data: Buffer }
  | { readonly kind: "close"; readonly code: number; readonly reason: string };

/** A sandbox's answer to a WebSocket handshake. */
export type DialResult =
  | {
      readonly kind: "open";
      /** Paused. */
      readonly socket: UpstreamSocket;
      /** Sub-protocol and cookies for the client's handshake. */
      readonly headers: Headers;
      /**
       * Frames right after the handshake, in order. They come from at most one read of the socket, since it is paused
       * then. More are added until the caller replaces the socket's listeners.
       */
      readonly early: EarlyFrame[];
    }
  /** Any status but 101. It is relayed to the client completely. */
  | { readonly kind: "refused"; readonly answer: Response };

/**
 * Opens a WebSocket to the sandbox. The client's headers have been rewritten; its `Sec-WebSocket-*` are replaced.
 *
 * Throws IngressError with the code of a failed upstream, or with the reason of a cut. Until a tunnel takes the
 * connection over, it ends with the exchange at the latest.
 */
export function dialWebSocket(exchange: Exchange, options: { readonly maxMessageBytes: number }): Promise<DialResult> {
  const { request, browser, path, query } = exchange.subject;
  const socket = new WebSocket(`ws://${exchange.dialled}${path}${query}`, {
    headers: handshakeHeaders(request.headers, browser.hostHeader),
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: options.maxMessageBytes,
    ...NO_PROXY,
  });
  const early: EarlyFrame[] = [];
  return new Promise((resolve, reject) => {
    const headers = new Headers();
    const fail = (error: IngressError): void => {
      exchange.signal.removeEventListener("abort", abort);
      reject(exchange.cutBy ?? error);
      socket.terminate();
    };
    const abort = (): void => fail(new IngressError("client_closed"));
    // An error that a listener throws would reach nobody. The promise would stay open, and so would the exchange.
    const guarded =
      <T extends unknown[]>(listener: (...args: T) => void) =>
      (...args: T): void => {
        try {
          listener(...args);
        } catch (thrown) {
          fail(toIngressError(thrown));
        }
      };
    exchange.signal.addEventListener("abort", abort, { once: true });
    socket.once(
      "upgrade",
      guarded((answer: IncomingMessage) => takeHandshakeHeaders(answer, headers)),
    );
    socket.once(
      "unexpected-response",
      guarded((_request: unknown, answer: IncomingMessage) => {
        const relayed = toResponse(answer, exchange, socket);
        exchange.signal.removeEventListener("abort", abort);
        resolve({ kind: "refused", answer: relayed });
      }),
    );
    socket.on("message", (data: Buffer, binary: boolean) => early.push({ kind: "message", data, binary }));
    socket.on("ping", (data: Buffer) => early.push({ kind: "ping", data }));
    socket.once(
      "open",
      guarded(() => {
        exchange.signal.removeEventListener("abort", abort);
        // Data in the socket's buffer still arrives. Nothing more is read until the client is there.
        socket.pause();
        resolve({ kind: "open", socket, headers, early });
      }),
    );
    socket.on("close", (code: number, reason: Buffer) => {
      early.push({ kind: "close", code, reason: reason.toString() });
    });
    socket.on("error", (thrown: Error) => fail(toUpstreamError(thrown)));
  });
}

/**
 * Without this, Bun's client would use the proxy variables of the environment. The types of `ws` do not contain the
 * option.
 */
const NO_PROXY: object = { proxy: false };

/**
 * The client writes `Sec-WebSocket-*` itself for the new connection. `Host` must be set, or it would be missing.
 * Sub-protocols are passed as a plain header: the client checks the sandbox's choice against names that it is given,
 * and that check is not the ingress's task.
 */
function handshakeHeaders(headers: Headers, hostHeader: string): Record<string, string> {
  const result: Record<string, string> = { Host: hostHeader };
  for (const [name, value] of headers) {
    const isOurs = name.startsWith("sec-websocket-") && name !== SUB_PROTOCOL_HEADER;
    if (!isOurs && name !== "content-length") result[name] = value;
  }
  return result;
}

/** The client offers names, the sandbox chooses one, and the client checks the choice (RFC 6455 §4.1, §4.2.2). */
const SUB_PROTOCOL_HEADER = "sec-websocket-protocol";

/**
 * Takes cookies, the sub-protocol and all other end-to-end headers. Removes the sub-protocol from the answer: Bun's
 * client reads the same list afterwards, and would refuse a choice that it did not offer.
 */
function takeHandshakeHeaders(answer: IncomingMessage, headers: Headers): void {
  for (const [name, value] of headerPairs(answer)) {
    const lower = name.toLowerCase();
    if (lower.startsWith("sec-websocket-") && lower !== SUB_PROTOCOL_HEADER) continue;
    headers.append(name, value);
  }
  const { rawHeaders } = answer;
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    if (rawHeaders[i]?.toLowerCase() === SUB_PROTOCOL_HEADER) rawHeaders.splice(i, 2);
  }
}

/** Turns a refusal into an ordinary answer. Its connection ends with its exchange, whether it was read or not. */
function toResponse(answer: IncomingMessage, exchange: Exchange, socket: UpstreamSocket): Response {
  const status = answer.statusCode ?? 0;
  checkAnswerStatus(status);
  const headers = new Headers();
  for (const [name, value] of headerPairs(answer)) headers.append(name, value);
  const abort = (): void => void answer.destroy(exchange.cutBy);
  exchange.signal.addEventListener("abort", abort, { once: true });
  exchange.hold({
    release() {
      answer.destroy();
      socket.terminate();
    },
  });
  // The reader of the stream gets this error. Nobody else needs it.
  answer.on("error", () => {});
  const hasBody = status !== 204 && status !== 304;
  return new Response(hasBody ? streamOf(answer) : null, { status, headers });
}

/** The body as a stream. It reads only when it is read, and fails if the connection ends early. */
function streamOf(answer: IncomingMessage): ReadableStream<Uint8Array> {
  const chunks: AsyncIterator<Uint8Array, undefined> = answer[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await chunks.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      },
      cancel: () => void answer.destroy(),
    },
    { highWaterMark: 0 },
  );
}

function* headerPairs(answer: IncomingMessage): Generator<readonly [string, string]> {
  const { rawHeaders } = answer;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) yield [rawHeaders[i] ?? "", rawHeaders[i + 1] ?? ""];
}
