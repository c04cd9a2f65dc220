import type { KubeWriter } from "./client.ts";
import { KubeError, readKubeError } from "./errors.ts";
import { isObject } from "../values.ts";

/** Longest answer, in bytes: the resources of a group take a few KiB, all others less. */
const ANSWER_MAX_BYTES = 1024 * 1024;

/** An answer of the API server with status 2xx. */
export interface KubeAnswer {
  readonly json: Readonly<Record<string, unknown>>;
  readonly headers: Headers;
}

/** One request to the API server. */
export interface KubeRequest {
  readonly path: string;
  /** Sent as POST; undefined: GET. */
  readonly body?: unknown;
  /** Ends the request. */
  readonly signal: AbortSignal;
  /** Called when the request is about to be sent. */
  readonly onSend?: () => void;
}

/** Sends one request and reads its answer, a JSON object. Throws KubeError, also for a status that is not 2xx. */
export async function requestJson(api: KubeWriter, request: KubeRequest): Promise<KubeAnswer> {
  const { path, body } = request;
  const response = await (body === undefined ? api.get(path, request) : api.post(path, body, request));
  if (!response.ok) throw await readKubeError(response);
  const json = parse(await readText(response));
  if (!isObject(json)) throw new KubeError("protocol", "the answer is not a JSON object");
  return { json, headers: response.headers };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The error would show a part of the answer.
    return undefined;
  }
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  const body: AsyncIterable<Uint8Array> | null = response.body;
  if (body === null) return text;
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_MAX_BYTES) throw new KubeError("protocol", `the answer is over ${ANSWER_MAX_BYTES} bytes`);
  }
  return text;
}
