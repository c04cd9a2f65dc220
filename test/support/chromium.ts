import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { eventually } from "../../scripts/lib/eventually.ts";
import { tempDir } from "./temp-dir.ts";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"] as const;

/** The command that starts a Chromium; undefined: there is none. */
export const chromiumCommand = BROWSERS.find((name) => Bun.which(name) !== null);

/** A browser's first start, and a page's whole work, on a busy machine. */
const READY_MAX_MS = 60_000;

/** A browser that does not end by itself is killed after this time. */
const STOP_MAX_MS = 10_000;

/** A page in a browser of its own. */
export interface BrowserPage extends AsyncDisposable {
  /** The value of an expression in the page, as JSON carries it. Throws where the page throws. */
  evaluate(expression: string): Promise<unknown>;
  /** Evaluates until the value is as `isDone` wants it, and gives the last value, wanted or not. */
  settle(expression: string, isDone: (value: unknown) => boolean): Promise<unknown>;
}

/**
 * Opens a page without a window, over the DevTools protocol: the page runs by the real clock and is asked what it shows. (With
 * `--dump-dom` a browser turns its clock as soon as nothing is loading, whatever WebSockets still wait for.)
 */
export async function openPage(url: string): Promise<BrowserPage> {
  const profile = tempDir();
  const child = Bun.spawn(
    [
      chromiumCommand ?? "chromium",
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--remote-debugging-port=0",
      `--user-data-dir=${profile.path}`,
      "about:blank",
    ],
    { stdin: "ignore", stdout: "ignore", stderr: "ignore" },
  );
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
    await child.exited;
    clearTimeout(killer);
    profile[Symbol.dispose]();
  };
  try {
    const socket = await connect(join(profile.path, "DevToolsActivePort"), url);
    const evaluate = createEvaluate(socket);
    return {
      evaluate,
      async settle(expression, isDone) {
        let value: unknown;
        await eventually(async () => isDone((value = await evaluate(expression))), { maxMs: READY_MAX_MS }).catch(
          () => {},
        );
        return value;
      },
      async [Symbol.asyncDispose]() {
        socket.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Opens a tab and connects to it. The browser writes the port that it chose into a file. */
async function connect(portFile: string, url: string): Promise<WebSocket> {
  const port = await eventually(
    () => (existsSync(portFile) ? /^(\d+)\n/.exec(readFileSync(portFile, "utf8"))?.[1] : undefined) ?? false,
    { maxMs: READY_MAX_MS },
  );
  const opened = await fetch(`http://127.0.0.1:${String(port)}/json/new?${url}`, { method: "PUT", proxy: false });
  const address = /"webSocketDebuggerUrl": *"([^"]+)"/.exec(await opened.text())?.[1];
  if (address === undefined) throw new Error(`the browser opens no tab: ${opened.status}`);
  const socket = new WebSocket(address);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("close", reject, { once: true });
  });
  return socket;
}

function createEvaluate(socket: WebSocket): (expression: string) => Promise<unknown> {
  let last = 0;
  const waiting = new Map<unknown, (answer: unknown) => void>();
  socket.addEventListener("message", ({ data }) => {
    const answer: unknown = JSON.parse(String(data));
    const id = read(answer, "id");
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  return async (expression) => {
    const id = ++last;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    waiting.set(id, resolve);
    socket.send(JSON.stringify({ id, method: "Runtime.evaluate", params: { expression, returnByValue: true } }));
    const result = read(await promise, "result");
    if (result === undefined || read(result, "exceptionDetails") !== undefined) {
      throw new Error(`the page cannot evaluate ${expression}`);
    }
    return read(read(result, "result"), "value");
  };
}

function read(object: unknown, name: string): unknown {
  return typeof object === "object" && object !== null ? Reflect.get(object, name) : undefined;
}
