import { expect, test } from "bun:test";

import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { UNREAD_BODIES_MAX } from "../../src/proxy/request/unread-body.ts";
import { requirePart } from "../support/requires.ts";

const hasPython = requirePart("python3", { get: "apt-get install python3" });
const SIZE = 2_000_000;

const post = (length: number): string =>
  `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: nobody-80\r\nContent-Length: ${length}\r\n\r\n`;

const PYTHON_CLIENT = `
import http.client, sys
for _ in range(5):
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    c.request("POST", "/", b"x" * ${SIZE}, {"OpenSandbox-Ingress-To": "nobody-80"})
    print(c.getresponse().status)
`;

test.skipIf(!hasPython)("UnreadBodies lets Python's http.client read the refusal of an upload of 2 MB", async () => {
  await using proxy = startProxy();
  const python = Bun.spawn(["python3", "-c", PYTHON_CLIENT, String(proxy.port)], { stderr: "pipe", timeout: 30_000 });
  expect(await new Response(python.stderr).text()).toBe("");
  expect((await new Response(python.stdout).text()).trim().split("\n")).toEqual(["404", "404", "404", "404", "404"]);
});

test("UnreadBodies lets a client that reads only when it has sent 2 MB read the refusal", async () => {
  await using proxy = startProxy();
  const client = await openRaw(proxy.port);
  client.socket.pause();
  const sent = Promise.withResolvers<void>();
  client.socket.write(post(SIZE) + "x".repeat(SIZE), (error) => (error ? sent.reject(error) : sent.resolve()));
  await sent.promise;
  client.socket.resume();
  const answer = await client.readAnswer();
  expect([answer.status, headerValues(answer, "connection")]).toEqual([404, ["close"]]);
  client.destroy();
});

test("UnreadBodies answers a client that never sends the rest, and reads a bounded number at a time", async () => {
  await using proxy = startProxy();
  const clients = await Promise.all(Array.from({ length: UNREAD_BODIES_MAX + 8 }, () => openRaw(proxy.port)));
  for (const client of clients) client.write(`${post(SIZE)}x`);
  for (const client of clients) expect((await client.readAnswer()).status).toBe(404);
  for (const client of clients) client.destroy();
  const next = await rawRequest(proxy.port, `${post(2)}ok`);
  expect(next.status).toBe(404);
});
