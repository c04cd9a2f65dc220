import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { type NodeUpstream, startNodeUpstream } from "../../support/node-upstream.ts";
import { type ProxyHarness, startProxy } from "../../../scripts/lib/stage/proxy-harness.ts";
import { rawRequest } from "../../../scripts/lib/stage/raw-client.ts";
import { requirePart } from "../../support/requires.ts";
import { FIELD_ROWS } from "./field-rows.ts";
import { FRAMING_ROWS } from "./framing-rows.ts";
import { REQUEST_LINE_ROWS } from "./request-line-rows.ts";

const hasNode = requirePart("node", { get: "apt-get install nodejs" });
/** An answer to HEAD cannot tell what was read. */
const ROWS = [...REQUEST_LINE_ROWS, ...FIELD_ROWS, ...FRAMING_ROWS].filter(
  ({ forwarded, refused }) => forwarded !== undefined && !refused && forwarded.method !== "HEAD",
);

let node: NodeUpstream;
let proxy: ProxyHarness;

beforeAll(async () => {
  if (!hasNode) return;
  node = await startNodeUpstream();
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
});

afterAll(async () => {
  if (!hasNode) return;
  await proxy[Symbol.asyncDispose]();
  await node[Symbol.asyncDispose]();
});

describe.skipIf(!hasNode)("handler: what is forwarded reads the same to Node's strict parser", () => {
  test.each(ROWS.map((row) => [row.name, row] as const))("%s", async (_name, { bytes, forwarded }) => {
    const text = bytes.replaceAll("@ROUTE", `OpenSandbox-Ingress-To: sb-${node.port}\r\n`);
    const answer = await rawRequest(proxy.port, Buffer.from(text, "latin1"));
    expect(answer.status).toBe(200);
    const reading: unknown = JSON.parse(Buffer.from(answer.body, "latin1").toString());
    const { method, target: url, body } = forwarded ?? {};
    const expected = Object.entries({ method, url, body }).filter(([, value]) => value !== undefined);
    expect(reading).toMatchObject(Object.fromEntries(expected));
  });
});
