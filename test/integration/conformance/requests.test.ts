import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { eventually } from "../../../scripts/lib/eventually.ts";
import { openRaw, type RawConnection } from "../../../scripts/lib/stage/raw-client.ts";
import { BARRIER_TARGET, type RecordingStage, startRecordingStage } from "../../support/recording-stage.ts";
import type { StrictRequest } from "../../support/strict-request-parser.ts";
import { FIELD_ROWS } from "./field-rows.ts";
import { FRAMING_ROWS } from "./framing-rows.ts";
import { REQUEST_LINE_ROWS } from "./request-line-rows.ts";
import type { Forwarded, Row } from "./row.ts";

let stage: RecordingStage;
beforeAll(async () => {
  stage = await startRecordingStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

/** Sends the bytes and waits for the outcome: an answer's head, or the end of the connection. */
async function send(bytes: string): Promise<RawConnection> {
  const connection = await openRaw(stage.proxy.port);
  connection.write(Buffer.from(bytes.replaceAll("@ROUTE", stage.route), "latin1"));
  return connection;
}

function takeSeen(row: Row): readonly StrictRequest[] {
  const { requests, cut } = stage.upstream.take();
  if (row.begins !== true) expect(cut).toEqual([]);
  return requests.filter(({ target }) => target !== BARRIER_TARGET);
}

/** The status of the final answer; 0: the connection was closed without one. */
async function readStatus(connection: RawConnection): Promise<number> {
  const text = await connection.until((received) => /(?:^|\n)HTTP\/1\.1 [2-5]\d\d[\s\S]*\r\n\r\n/.test(received));
  return Number(/(?:^|\n)HTTP\/1\.1 ([2-5]\d\d)/.exec(text)?.[1] ?? 0);
}

function compare(seen: StrictRequest, forwarded: Forwarded): void {
  const { method, target, body, headers = {} } = forwarded;
  if (method !== undefined) expect(seen.method).toBe(method);
  if (target !== undefined) expect(seen.target).toBe(target);
  if (body !== undefined) expect(seen.body).toBe(body);
  for (const [name, value] of Object.entries(headers)) {
    const values = seen.headers.filter(([key]) => key === name).map(([, text]) => text);
    expect([name, values]).toEqual([name, value === undefined ? [] : [value]]);
  }
}

async function check(row: Row): Promise<void> {
  const connection = await send(row.bytes);
  try {
    if (row.waits === true) {
      await stage.barrier();
      expect(connection.received).toBe("");
      expect(takeSeen(row)).toEqual([]);
      connection.destroy();
      await eventually(() => stage.proxy.server.inFlight() === 0);
      await stage.barrier();
      expect(takeSeen(row)).toEqual([]);
      return;
    }
    const status = await readStatus(connection);
    connection.destroy();
    await eventually(() => stage.proxy.server.inFlight() === 0);
    await stage.barrier();
    const seen = takeSeen(row);
    const isRefused = status === 0 || status >= 400;
    if (isRefused) {
      expect(`${row.refused ? "" : "wrongly "}refused with ${status}`).toBe(`refused with ${row.status ?? status}`);
      if (row.late !== true || seen.length === 0) {
        expect(seen).toEqual([]);
        return;
      }
    } else {
      expect(status).toBe(200);
    }
    const { forwarded } = row;
    if (forwarded === undefined) throw new Error(`wrongly forwarded as ${JSON.stringify(seen)}`);
    expect(seen.map(({ method, target }) => `${method} ${target}`)).toHaveLength(1);
    const [request] = seen;
    if (request !== undefined) compare(request, forwarded);
  } finally {
    connection.destroy();
  }
}

const FAMILIES = { "request lines": REQUEST_LINE_ROWS, fields: FIELD_ROWS, framing: FRAMING_ROWS };

describe.each(Object.entries(FAMILIES))("handler: %s", (_family, rows) => {
  test.each(rows.map((row) => [row.name, row.source, row] as const))("%s (%s)", (_name, _source, row) => check(row));
});

test("rows have names of their own", () => {
  const names = Object.values(FAMILIES).flatMap((rows) => rows.map(({ name }) => name));
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThan(300);
});
