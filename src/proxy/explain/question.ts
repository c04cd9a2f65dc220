import { ROUTE_HEADER } from "../../route/parse-route.ts";

/** A request that somebody asks about. It is not sent. */
export interface Question {
  readonly method: string;
  /** A URL, or a pasted route: a path, a host name, or a value of `OpenSandbox-Ingress-To`. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** The same request in the form in which the proxy gets it from Bun. */
export interface AskedRequest {
  readonly method: string;
  /** `http://<Host><path>`. */
  readonly url: string;
  readonly headers: Headers;
}

/** Stands for the name of the ingress if the question has none. */
const ANY_HOST = "ingress.invalid";

/**
 * Makes the request that a question is about. The shape of the target tells what it is: with a scheme or a slash it is
 * a URL or a path, with a dot or colon a host name, else the value of the header. Throws an Error that says what is
 * wrong and repeats nothing of the question.
 */
export function toAskedRequest({ method, target, headers: fields }: Question): AskedRequest {
  const headers = new Headers();
  for (const [name, value] of fields) {
    try {
      headers.append(name, value);
    } catch {
      throw new Error("a header has an invalid name or value");
    }
  }
  const text = target.trim();
  const field = `${ROUTE_HEADER}:`;
  if (text.slice(0, field.length).toLowerCase() === field.toLowerCase()) {
    headers.set(ROUTE_HEADER, text.slice(field.length).trim());
    return finish(`http://${ANY_HOST}/`, method, headers);
  }
  if (text.includes("/")) return finish(toUrlText(text), method, headers);
  if (/[.:]/.test(text)) return finish(`http://${text}/`, method, headers);
  try {
    headers.set(ROUTE_HEADER, text);
  } catch {
    throw new Error("the route is not a value of a header");
  }
  return finish(`http://${ANY_HOST}/`, method, headers);
}

function toUrlText(text: string): string {
  if (text.startsWith("/")) return `http://${ANY_HOST}${text}`;
  return text.includes("://") ? text : `http://${text}`;
}

function finish(text: string, method: string, headers: Headers): AskedRequest {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:", "ws:", "wss:"].includes(url.protocol)) {
    throw new Error("the URL is not one of http, https, ws or wss");
  }
  if (!headers.has("host")) headers.set("host", url.host);
  return { method: method.toUpperCase(), url: `http://${headers.get("host")}${url.pathname}${url.search}`, headers };
}
