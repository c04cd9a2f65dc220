import type { SampleSandbox } from "./sample-sandbox.ts";

/** One way to reach one sandbox. */
export interface Way {
  readonly form: "header" | "host" | "uri";
  readonly sandbox: SampleSandbox;
  /** Where to connect. Without a slash at its end. */
  readonly base: string;
  /** The same as a browser would have it in its address bar. */
  readonly publicBase: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Asks once: a redirect is an answer. */
export function request(url: string, init: RequestInit = {}): Promise<Response> {
  return fetch(url, { ...init, proxy: false, redirect: "manual" });
}

/** The answer to a request for a path of the sandbox. Throws an Error unless it is 200. */
export async function requestOk(
  way: Way,
  path: string,
  init: Omit<RequestInit, "headers"> & { readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Response> {
  const response = await request(`${way.base}${path}`, { ...init, headers: { ...way.headers, ...init.headers } });
  if (response.status !== 200) throw new Error(`${response.status}: ${(await response.text()).trim()}`);
  return response;
}

export function once(socket: WebSocket, type: "open" | "message" | "close"): Promise<Event> {
  return new Promise((resolve) => socket.addEventListener(type, resolve, { once: true }));
}
