import { eventually } from "../eventually.ts";
import { toRecord, type CdpClient, type CdpEvent, type CdpParams } from "./cdp-client.ts";

/**
 * How long a page may take to come to a state, in milliseconds: an application's first page loads megabytes of script.
 */
const STATE_MAX_MS = 90_000;
/** Lines and characters of a page's events that are kept: the last ones, enough to say why it does not work. */
const EVENTS_MAX = 4_000;
const EVENT_MAX_CHARS = 2_000;

const ENTER = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };
/** Keys by the names that callers give them, as the DevTools protocol describes them. */
const KEYS = {
  Tab: { key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 },
  Enter: ENTER,
  "Shift+Enter": { ...ENTER, modifiers: 8 },
  F1: { key: "F1", code: "F1", windowsVirtualKeyCode: 112 },
} as const;

/**
 * A page in a browser, used as a person does. It runs by the real clock and is asked what it shows: with `--dump-dom` a
 * browser turns its clock as soon as nothing is loading, whatever WebSockets still wait for.
 */
export interface Page extends AsyncDisposable {
  /** What an expression evaluates to, as JSON; promises are awaited. Throws what it throws. */
  evaluate(expression: string): Promise<unknown>;
  /** Resolves as soon as an expression is true; throws, with what happened in the page, when it is not for long. */
  until(expression: string): Promise<void>;
  /** Evaluates until the value is as `isDone` wants it or for long enough, and gives the last value, wanted or not. */
  settle(expression: string, isDone: (value: unknown) => boolean): Promise<unknown>;
  /** Resolves as soon as an event matches. */
  untilEvent(pattern: RegExp): Promise<void>;
  /** Waits for an element that can be seen, then clicks the middle of it. */
  click(selector: string): Promise<void>;
  /** Types into what has the focus. */
  type(text: string): Promise<void>;
  press(key: keyof typeof KEYS): Promise<void>;
  /**
   * What happened so far, one line each: `403 POST <url>` of an answer, `websocket 403 <url>` of a handshake, `failed
   * <url>: why`, `received <text>` of a WebSocket's message, `error: <text>` of the console and of exceptions.
   */
  readonly events: readonly string[];
  /** A PNG of what can be seen. */
  screenshot(): Promise<Buffer>;
  /** Any other command of the DevTools protocol, for this page. Throws where the browser refuses it. */
  command(method: string, params?: CdpParams): Promise<CdpParams>;
}

export interface OpenOptions {
  /**
   * The page's Content-Security-Policy does not count: one with `upgrade-insecure-requests` is for pages that come over
   * TLS.
   */
  readonly ignoresPolicy?: boolean;
  /** Runs in the page before its own scripts. */
  readonly script?: string;
}

/** Opens a URL in a page with cookies and storage of its own; resolves as soon as it began to load. */
export async function openPage(client: CdpClient, url: string, options: OpenOptions = {}): Promise<Page> {
  const { browserContextId } = await client.send("Target.createBrowserContext");
  const { targetId } = await client.send("Target.createTarget", { url: "about:blank", browserContextId });
  const { sessionId } = await client.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method: string, params: CdpParams = {}) => client.send(method, params, String(sessionId));
  const events: string[] = [];
  const describe = createEventDescriber();
  const stopListening = client.listen((event) => {
    if (event.sessionId !== sessionId) return;
    const line = describe(event);
    if (line === undefined) return;
    events.push(line.slice(0, EVENT_MAX_CHARS));
    if (events.length > EVENTS_MAX) events.shift();
  });
  for (const domain of ["Page", "Network", "Runtime", "Log"]) await send(`${domain}.enable`);
  if (options.ignoresPolicy === true) await send("Page.setBypassCSP", { enabled: true });
  if (options.script !== undefined) {
    await send("Page.addScriptToEvaluateOnNewDocument", { source: options.script });
  }
  await send("Page.navigate", { url });
  return createPage(send, events, async () => {
    stopListening();
    await client.send("Target.disposeBrowserContext", { browserContextId });
  });
}

type Send = (method: string, params?: CdpParams) => Promise<CdpParams>;

function createPage(send: Send, events: readonly string[], close: () => Promise<void>): Page {
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result, exceptionDetails } = await send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return toRecord(result)["value"];
  };
  const waitFor = async (what: string, probe: () => Promise<boolean>): Promise<void> => {
    try {
      await eventually(probe, { maxMs: STATE_MAX_MS });
    } catch (cause) {
      const text = await evaluate("document.body?.innerText.slice(0, 2000)").catch(String);
      const told = events.filter((line) => !/^(?:received |2\d\d )/.test(line)).slice(-30);
      throw new Error(`not in the page: ${what}\n${told.join("\n")}\nIt shows: ${String(text)}`, { cause });
    }
  };
  return {
    evaluate,
    events,
    async settle(expression, isDone) {
      let value: unknown;
      const probe = async () => isDone((value = await evaluate(expression)));
      await eventually(probe, { maxMs: STATE_MAX_MS }).catch(() => {});
      return value;
    },
    until: (expression) => waitFor(expression, async () => (await evaluate(expression)) === true),
    untilEvent: (pattern) => waitFor(String(pattern), () => Promise.resolve(events.some((line) => pattern.test(line)))),
    async click(selector) {
      let point: CdpParams = {};
      await waitFor(selector, async () => {
        point = toRecord(await evaluate(locate(selector)));
        return typeof point["x"] === "number";
      });
      for (const type of ["mousePressed", "mouseReleased"]) {
        await send("Input.dispatchMouseEvent", { type, ...point, button: "left", clickCount: 1 });
      }
    },
    type: async (text) => void (await send("Input.insertText", { text })),
    async press(key) {
      for (const type of ["keyDown", "keyUp"]) await send("Input.dispatchKeyEvent", { type, ...KEYS[key] });
    },
    async screenshot() {
      const { data } = await send("Page.captureScreenshot", { format: "png" });
      return Buffer.from(String(data), "base64");
    },
    command: send,
    [Symbol.asyncDispose]: close,
  };
}

/** An expression that gives the middle of an element that can be seen and that nothing covers. */
function locate(selector: string): string {
  return `(() => {
    const element = document.querySelector(${JSON.stringify(selector)});
    if (element === null) return undefined;
    element.scrollIntoView({ block: "nearest" });
    const { left, top, width, height } = element.getBoundingClientRect();
    const point = { x: left + width / 2, y: top + height / 2 };
    const hit = document.elementFromPoint(point.x, point.y);
    return width > 0 && hit !== null && (element.contains(hit) || hit.contains(element)) ? point : undefined;
  })()`;
}

function createEventDescriber(): (event: CdpEvent) => string | undefined {
  const requests = new Map<unknown, string>();
  return ({ method, params }) => {
    const { requestId } = params;
    const request = toRecord(params["request"]);
    const response = toRecord(params["response"]);
    switch (method) {
      case "Network.requestWillBeSent":
        requests.set(requestId, `${String(request["method"])} ${String(request["url"])}`);
        return undefined;
      case "Network.webSocketCreated":
        requests.set(requestId, String(params["url"]));
        return undefined;
      case "Network.responseReceived":
        return `${String(response["status"])} ${requests.get(requestId)}`;
      case "Network.webSocketHandshakeResponseReceived":
        return `websocket ${String(response["status"])} ${requests.get(requestId)}`;
      case "Network.webSocketFrameReceived":
        return `received ${String(response["payloadData"])}`;
      case "Network.webSocketFrameError":
        return `websocket failed ${requests.get(requestId)}: ${String(params["errorMessage"])}`;
      case "Network.loadingFailed":
        return `failed ${requests.get(requestId)}: ${String(params["errorText"])}`;
      case "Runtime.consoleAPICalled":
        return params["type"] === "error" ? `error: ${JSON.stringify(params["args"])}` : undefined;
      case "Runtime.exceptionThrown":
      case "Log.entryAdded":
        return `error: ${JSON.stringify(params)}`;
      default:
        return undefined;
    }
  };
}
