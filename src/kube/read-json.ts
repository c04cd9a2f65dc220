import { isObject } from "../values.ts";
import { KubeError } from "./errors.ts";
import { type KubeStreamOptions, readKubeStream } from "./stream.ts";

export interface KubeJsonOptions extends Omit<KubeStreamOptions, "idleMaxMs" | "headMaxMs"> {
  /** Longest wait for the answer to begin, and longest pause in it, in milliseconds. */
  readonly waitMaxMs: number;
  /** Longest answer, in characters. */
  readonly maxChars: number;
  /** What is read, for messages: "the discovery document". */
  readonly what: string;
}

/** Reads an answer that is one JSON object. Throws KubeError, `protocol` for an answer that is longer or something else. */
export async function readKubeJson(path: string, options: KubeJsonOptions): Promise<Readonly<Record<string, unknown>>> {
  const { waitMaxMs, maxChars, what } = options;
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of readKubeStream(path, { ...options, headMaxMs: waitMaxMs, idleMaxMs: waitMaxMs })) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > maxChars) throw new KubeError("protocol", `${what} is too long`);
  }
  const value = parse(text);
  if (isObject(value)) return value;
  throw new KubeError("protocol", `${what} is not a JSON object`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
