import { expect, test } from "bun:test";
import type { Socket } from "node:net";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { startBrowser } from "../../scripts/lib/browser/browser.ts";
import { requireBrowser } from "../support/require-browser.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";

const hasBrowser = requireBrowser();

/** Until the page has told what it saw, in milliseconds. */
const REPORT_MAX_MS = 90_000;
/** Above that, with the start of a browser on a busy machine. */
const TEST_MAX_MS = 150_000;

/** Tells the sandbox when the stream is open, and then what it gave. */
const PAGE = `<!doctype html><script>
const seen = [];
const source = new EventSource("/events");
source.onopen = () => { seen.push("open"); fetch("/opened"); };
source.onerror = () => seen.push("error");
source.addEventListener("named", (event) => seen.push("named " + event.data + " " + event.lastEventId));
source.onmessage = (event) => {
  seen.push("message " + event.data);
  source.close();
  fetch("/seen?" + encodeURIComponent(seen.join(", ")));
};
</script>`;

const EVENT_STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EMPTY = "HTTP/1.1 204 No Content\r\n\r\n";

test.skipIf(!hasBrowser).each([
  ["plain", ""],
  ["with a byte order mark", "\xef\xbb\xbf"],
  ["with a comment", ": hello\n\n"],
])(
  "a browser's EventSource opens a stream whose sandbox is silent, and reads its events: %s",
  async (_what, start) => {
    const streams: Socket[] = [];
    const say = (text: string): void => {
      for (const socket of streams) socket.write(`${text.length.toString(16)}\r\n${text}\r\n`, "latin1");
    };
    await using sandbox = await startRawUpstream((socket, { line }) => {
      const path = line.split(" ")[1] ?? "";
      if (path === "/") {
        return void socket.write(
          `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${PAGE.length}\r\n\r\n${PAGE}`,
        );
      }
      if (path === "/events") {
        streams.push(socket);
        return void socket.write(EVENT_STREAM);
      }
      socket.write(EMPTY);
      // Silent until the browser knows the head: without the line feed it would never.
      if (path !== "/opened") return;
      say(`${start}event: named\nid: 7\ndata: first\n\n`);
      say("data: second\n\n");
    });
    await using proxy = startProxy({ streamEarlyNewline: true });
    proxy.provider.set({ name: "sb" });
    await using browser = await startBrowser();
    await using _ = await browser.open(`http://sb-${sandbox.port}.localhost:${proxy.port}/`);
    const report = await eventually(
      () => {
        const found = sandbox.requests.find(({ line }) => line.startsWith("GET /seen?"));
        if (found === undefined) throw new Error("the page has not reported");
        return found.line;
      },
      { maxMs: REPORT_MAX_MS },
    );
    expect(decodeURIComponent(report)).toContain("/seen?open, named first 7, message second ");
    expect(streams).toHaveLength(1);
  },
  TEST_MAX_MS,
);
