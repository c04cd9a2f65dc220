import { describe, expect, test } from "bun:test";
import { createRandom } from "../../../../scripts/lib/stage/random.ts";
import { buildDnsQuery, isDnsAnswerTo, readDnsAnswer } from "../../../../src/proxy/upstream/dns-message.ts";

const QUERY = buildDnsQuery({ name: "sb.ns.svc.k8s.test", family: 4, id: 0x1234 });

/** An answer to `QUERY` with these records; `count`: the number of records in its head. */
function answerWith(records: readonly Buffer[], count = records.length): Buffer {
  const answer = Buffer.concat([QUERY, ...records]);
  answer.writeUInt16BE(0x8180, 2);
  answer.writeUInt16BE(count, 6);
  return answer;
}

function record(type: number, data: Buffer, name = Buffer.from([0xc0, 12])): Buffer {
  const head = Buffer.from([0, type, 0, 1, 0, 0, 0, 30, 0, data.length]);
  return Buffer.concat([name, head, data]);
}

const address = record(1, Buffer.from([10, 0, 0, 7]));

describe("DNS messages", () => {
  test("buildDnsQuery writes a query as in RFC 1035", () => {
    const head = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0";
    expect(QUERY.toString("latin1")).toBe(`${head}\x02sb\x02ns\x03svc\x03k8s\x04test\0\0\x01\0\x01`);
    const ipv6 = buildDnsQuery({ name: "sb", family: 6, id: 0 }).toString("latin1");
    expect(ipv6.slice(12)).toBe("\x02sb\0\0\x1c\0\x01");
  });

  test.each(["", "a..b", "a.", `${"x".repeat(64)}.svc`, Array.from({ length: 130 }, () => "a").join(".")])(
    "buildDnsQuery refuses the name %j",
    (name) => {
      expect(() => buildDnsQuery({ name, family: 4, id: 1 })).toThrow();
    },
  );

  test("readDnsAnswer returns the addresses behind a CNAME, and skips other records and classes", () => {
    const alias = record(5, Buffer.from("\x05other\x04test\0", "latin1"));
    const behind = record(1, Buffer.from([10, 0, 0, 8]), Buffer.from("\x05other\x04test\0", "latin1"));
    const chaos = Buffer.from(address);
    chaos[5] = 3;
    expect(readDnsAnswer(QUERY, answerWith([alias, behind, chaos, record(16, Buffer.from("\x01x"))]), 4)).toEqual([
      "10.0.0.8",
    ]);
  });

  test.each<[string, Buffer]>([
    ["more records announced than there are", answerWith([address], 2)],
    ["65,535 records announced", answerWith([address], 0xffff)],
    ["a record that is cut", answerWith([address]).subarray(0, -1)],
    ["an address of three bytes", answerWith([record(1, Buffer.from([10, 0, 0]))])],
    ["an address of 16 bytes in the family of 4", answerWith([record(1, Buffer.alloc(16))])],
    ["a name that does not end", answerWith([Buffer.alloc(60, 1)])],
    ["a name with a reserved label", answerWith([Buffer.concat([Buffer.from([0x80]), address])])],
    ["a pointer that is cut", answerWith([Buffer.from([0xc0])])],
  ])("readDnsAnswer refuses an answer with %s", (_what, answer) => {
    expect(() => readDnsAnswer(QUERY, answer, 4)).toThrow("invalid");
  });

  test("readDnsAnswer follows no pointer, so a circle of pointers does not matter", () => {
    const circle = Buffer.concat([Buffer.from([0xc0, QUERY.length]), address.subarray(2)]);
    expect(readDnsAnswer(QUERY, answerWith([circle]), 4)).toEqual(["10.0.0.7"]);
  });

  test("readDnsAnswer returns addresses or throws, for any bytes", () => {
    const random = createRandom(13);
    const good = answerWith([address, address, address]);
    let given = 0;
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.from(good.subarray(0, QUERY.length + random.integer(good.length - QUERY.length + 1)));
      for (let change = random.integer(4); change > 0; change--)
        bytes[random.integer(bytes.length)] = random.integer(256);
      if (!isDnsAnswerTo(QUERY, bytes)) continue;
      try {
        for (const text of readDnsAnswer(QUERY, bytes, 4)) {
          expect(text).toMatch(/^\d{1,3}(\.\d{1,3}){3}$/);
          given++;
        }
      } catch (error) {
        expect(String(error)).toMatch(/DNS server/);
      }
    }
    expect(given).toBeGreaterThan(300);
  });
});
