import { once, request, requestOk, type Way } from "./demo-way.ts";
import { SAMPLE_COOKIE } from "./sample-sandbox.ts";

/** A redirect to the sandbox's own address leads to where the client sees it. */
export async function checkRedirect(way: Way): Promise<string> {
  const response = await request(`${way.base}/redirect`, { headers: way.headers });
  const location = response.headers.get("location");
  if (response.status !== 302 || location !== `${way.publicBase}/landed`) {
    throw new Error(`${response.status} to ${location} instead of ${way.publicBase}/landed`);
  }
  const landed = await (await requestOk(way, "/landed")).text();
  if (landed !== `landed at ${way.sandbox.name}\n`) throw new Error(`landed elsewhere: ${landed}`);
  return `302 to ${location}`;
}

/** What the page asks for by an absolute path comes from the page's sandbox. */
export async function checkAsset(way: Way): Promise<string> {
  const headers = { ...way.headers, Referer: `${way.publicBase}/` };
  const asked = await request(new URL("/asset.js", way.base).href, { headers });
  const location = asked.headers.get("location");
  if (way.form === "uri" && asked.status !== 307) throw new Error(`${asked.status} instead of 307`);
  const answer = location === null ? asked : await request(new URL(location, way.base).href, { headers });
  const text = await answer.text();
  if (answer.status !== 200 || !text.includes(`"${way.sandbox.name}"`)) throw new Error(`${answer.status}: ${text}`);
  return location === null ? "200" : `307 to ${location}, 200`;
}

/** A cookie for a path of the sandbox is one for that path as the client sees it. */
export async function checkCookie(way: Way): Promise<string> {
  const cookie = (await requestOk(way, "/cookie/set")).headers.get("set-cookie") ?? "";
  const [pair = "", ...attributes] = cookie.split("; ");
  const path = `Path=${new URL(`${way.publicBase}/cookie`).pathname}`;
  if (!attributes.includes(path)) throw new Error(`no ${path} in ${cookie}`);
  const seen = await (await requestOk(way, "/cookie/show", { headers: { Cookie: pair } })).text();
  if (seen !== `${SAMPLE_COOKIE}=${way.sandbox.name}\n`) throw new Error(`the sandbox saw ${seen}`);
  return cookie;
}

/** A sandbox that compares `Origin` with `Host` takes its own pages' WebSockets, and no others. */
export async function checkStrictWebSocket(way: Way): Promise<string> {
  const own = new URL(way.publicBase).origin;
  const outcomes = [await tryOrigin(way, own), await tryOrigin(way, "https://other.example")];
  if (outcomes.join() !== "open,closed") throw new Error(`own origin: ${outcomes[0]}, another: ${outcomes[1]}`);
  return `open for ${own}, refused for another origin`;
}

async function tryOrigin(way: Way, origin: string): Promise<"open" | "closed"> {
  const url = `${way.base.replace("http", "ws")}/strict-ws`;
  const socket = new WebSocket(url, { headers: { ...way.headers, Origin: origin } });
  const outcome = await Promise.race([
    once(socket, "open").then(() => "open" as const),
    once(socket, "close").then(() => "closed" as const),
  ]);
  socket.close(1000);
  return outcome;
}
