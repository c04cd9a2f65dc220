import { expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { LineWriter } from "../../../src/log/line-writer.ts";
import { eventually } from "../../../scripts/lib/eventually.ts";

/** A reader that takes nothing until it is told to. */
function createSlowReader() {
  const chunks: string[] = [];
  const waiting: PromiseWithResolvers<void>[] = [];
  let open = false;
  return {
    chunks,
    text: () => chunks.join(""),
    write(chunk: string): Promise<void> {
      chunks.push(chunk);
      if (open) return Promise.resolve();
      const gate = Promise.withResolvers<void>();
      waiting.push(gate);
      return gate.promise;
    },
    read() {
      open = true;
      for (const gate of waiting) gate.resolve();
    },
    fail() {
      for (const gate of waiting.splice(0)) gate.reject(new Error("EPIPE"));
    },
  };
}

function createWriter(write: (chunk: string) => Promise<void>): LineWriter {
  return new LineWriter({ write, clock: systemClock, formatDropped: (count) => `dropped ${count}\n` });
}

test("LineWriter writes the lines of one turn together and in order", async () => {
  const reader = createSlowReader();
  reader.read();
  const writer = createWriter((chunk) => reader.write(chunk));
  for (const line of ["a\n", "b\n", "c\n"]) writer.push(line);
  await writer.flush();
  expect(reader.chunks).toEqual(["a\nb\nc\n"]);
});

test("LineWriter bounds the lines that wait for a stalled reader, and then reports how many are missing", async () => {
  const reader = createSlowReader();
  const writer = createWriter((chunk) => reader.write(chunk));
  const line = `${"x".repeat(1023)}\n`;
  writer.push(line);
  await eventually(() => reader.chunks.length === 1);
  for (let count = 0; count < 3_000; count += 1) writer.push(line);
  expect(writer.dropped).toBe(3_000 - 1_024);
  expect(reader.chunks).toHaveLength(1);
  reader.read();
  await writer.flush();
  const lines = reader.text().split("\n").slice(0, -1);
  expect(lines.filter((text) => text.startsWith("x"))).toHaveLength(1_025);
  expect(lines.filter((text) => text.startsWith("dropped"))).toEqual(["dropped 1976"]);
  expect(Math.max(...reader.chunks.map((chunk) => chunk.length))).toBeLessThanOrEqual(64 * 1024);
});

test("LineWriter writes a line that is longer than a batch", async () => {
  const reader = createSlowReader();
  reader.read();
  const writer = createWriter((chunk) => reader.write(chunk));
  const long = `${"y".repeat(200_000)}\n`;
  writer.push(long);
  writer.push("z\n");
  await writer.flush();
  expect(reader.text()).toBe(`${long}z\n`);
});

test("LineWriter counts the lines that a failed write loses, and continues", async () => {
  const reader = createSlowReader();
  const writer = createWriter((chunk) => reader.write(chunk));
  writer.push("a\n");
  writer.push("b\n");
  await eventually(() => reader.chunks.length === 1);
  reader.fail();
  await writer.flush();
  expect(writer.dropped).toBe(2);
  reader.read();
  writer.push("c\n");
  await writer.flush();
  expect(reader.chunks.slice(1).join("")).toBe("c\ndropped 2\n");
});

test("LineWriter.flush gives up on a reader that has stalled", async () => {
  const reader = createSlowReader();
  const fired: (() => void)[] = [];
  const writer = new LineWriter({
    write: (chunk) => reader.write(chunk),
    clock: {
      ...systemClock,
      setTimer(_delayMs, fire) {
        fired.push(fire);
        return { cancel() {} };
      },
    },
    formatDropped: String,
  });
  writer.push("a\n");
  const flushed = writer.flush();
  expect(fired).toHaveLength(1);
  fired[0]?.();
  await flushed;
  expect(reader.chunks.length).toBeLessThanOrEqual(1);
});
