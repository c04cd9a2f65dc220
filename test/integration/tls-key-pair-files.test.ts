import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { Logger } from "../../src/log/logger.ts";
import type { KeyPair } from "../../src/tls/key-pair.ts";
import { createKeyPairFiles } from "../../src/tls/key-pair-files.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeTlsAuthority, type TlsAuthority, type TlsPair } from "../support/tls-authority.ts";

const MINUTE_MS = 60 * 1_000;
const DAY_MS = 24 * 60 * 60 * 1_000;
const root = tempDir();
let authority: TlsAuthority;
let first: TlsPair;
let second: TlsPair;
beforeAll(async () => {
  authority = await makeTlsAuthority(root.path);
  first = await authority.issue("first");
  second = await authority.issue("second", { key: "rsa" });
});
afterAll(() => root[Symbol.dispose]());

/** A logger that keeps all that it is told. */
function recordLines(): { readonly logger: Logger; readonly said: () => string } {
  const lines: unknown[] = [];
  const log = (...line: readonly unknown[]): void => void lines.push(line);
  return { logger: { debug: log, info: log, warn: log, error: log }, said: () => JSON.stringify(lines) };
}

let folders = 0;

/** Files of a pair, and a source that watches them. */
function stage(
  options: { readonly laterMs?: number; readonly laterMsNow?: () => number; readonly refuses?: () => boolean } = {},
) {
  const dir = join(root.path, `watched-${folders++}`);
  mkdirSync(dir);
  const paths = { certFile: join(dir, "tls.crt"), keyFile: join(dir, "tls.key"), clientCaFile: undefined };
  const write = ({ cert, key }: Pick<TlsPair, "cert" | "key">): void => {
    writeFileSync(paths.certFile, cert);
    writeFileSync(paths.keyFile, key);
  };
  const taken: KeyPair[] = [];
  const { logger, said } = recordLines();
  const waits = new Set<number>();
  const clock: Clock = {
    now: () => systemClock.now() + (options.laterMsNow?.() ?? options.laterMs ?? 0),
    monotonic: () => systemClock.monotonic(),
    setTimer(delayMs, fire) {
      waits.add(delayMs);
      // Whoever waits a minute looks again; no test waits for that.
      return systemClock.setTimer(delayMs === MINUTE_MS ? 200 : delayMs, fire);
    },
  };
  const onPair = (pair: KeyPair): void => {
    if (options.refuses?.() === true) throw new Error("no server for it");
    taken.push(pair);
  };
  const files = createKeyPairFiles({ paths, onPair, logger, clock });
  return { paths, write, taken, files, said, waits, [Symbol.dispose]: () => files.stop() };
}

describe("KeyPairFiles", () => {
  test("KeyPairFiles.start gives the pair, and rejects where there is none", async () => {
    using at = stage();
    expect(await at.files.start().catch(String)).toMatch(/Cannot read the TLS (?:certificate|key): .*tls\./);
    at.write({ cert: first.cert, key: second.key });
    expect(await at.files.start().catch(String)).toContain("the key does not belong");
    at.write(first);
    expect((await at.files.start()).cert).toBe(first.cert);
    expect(at.files.current()?.key).toBe(first.key);
  });

  test("KeyPairFiles takes a new pair, though its files change one after the other", async () => {
    using at = stage();
    at.write(first);
    await at.files.start();
    writeFileSync(at.paths.certFile, second.cert);
    // The pair was read with its earlier key, and will be read again.
    await eventually(() => at.waits.has(2_000));
    writeFileSync(at.paths.keyFile, second.key);
    await eventually(() => at.taken.length === 1);
    expect(at.files.current()?.cert).toBe(second.cert);
    expect(at.files.stats()).toMatchObject({ renewals: 1, failures: 0 });
    expect(at.said()).not.toContain("cannot use");
  });

  test("KeyPairFiles takes a pair that a mounted Secret swaps", async () => {
    using dir = tempDir();
    for (const [name, { certFile, keyFile }] of [
      ["1", first],
      ["2", second],
    ] as const) {
      mkdirSync(join(dir.path, name));
      copyFileSync(certFile, join(dir.path, name, "tls.crt"));
      copyFileSync(keyFile, join(dir.path, name, "tls.key"));
    }
    symlinkSync("1", join(dir.path, "..data"));
    for (const name of ["tls.crt", "tls.key"]) symlinkSync(`..data/${name}`, join(dir.path, name));
    const paths = { certFile: join(dir.path, "tls.crt"), keyFile: join(dir.path, "tls.key"), clientCaFile: undefined };
    const taken: KeyPair[] = [];
    const { logger } = recordLines();
    const files = createKeyPairFiles({ paths, onPair: (pair) => void taken.push(pair), logger, clock: systemClock });
    await files.start();
    symlinkSync("2", join(dir.path, "..data_tmp"));
    renameSync(join(dir.path, "..data_tmp"), join(dir.path, "..data"));
    await eventually(() => taken.at(-1)?.cert === second.cert);
    files.stop();
    expect(files.stats()).toMatchObject({ renewals: 1, failures: 0 });
  });

  test("KeyPairFiles keeps the earlier pair for each kind of broken files, says so once, and recovers", async () => {
    let refuses = false;
    using at = stage({ refuses: () => refuses });
    at.write(first);
    await at.files.start();
    const broken: readonly (readonly [Pick<TlsPair, "cert" | "key">, string])[] = [
      [{ cert: second.cert, key: first.key }, "the key does not belong"],
      [{ cert: "", key: first.key }, "no certificate in PEM"],
      [{ cert: first.cert, key: "x".repeat(600_000) }, "is larger than"],
    ];
    for (const [index, [files, message]] of broken.entries()) {
      at.write(files);
      await eventually(() => at.said().includes(message));
      expect(at.files.current()?.cert).toBe(first.cert);
      expect(at.files.stats()).toMatchObject({ renewals: 0, failures: index + 1 });
    }
    refuses = true;
    at.write(second);
    await eventually(() => at.said().includes("no server for it"));
    expect(at.files.current()?.cert).toBe(first.cert);
    refuses = false;
    at.write({ cert: `${second.cert}\n`, key: second.key });
    await eventually(() => at.files.stats().renewals === 1);
    await eventually(() => at.said().includes("the TLS files can be used again"));
    expect(at.said()).not.toContain("PRIVATE");
    expect(at.said().split("cannot use the TLS files")).toHaveLength(broken.length + 2);
  }, 60_000);

  test("KeyPairFiles refuses a new pair that has expired, and warns of the end of the one in use", async () => {
    const short = await authority.issue("short", { days: 3 });
    using near = stage({ laterMs: 17 * DAY_MS });
    near.write(first);
    await near.files.start();
    expect(near.said()).toContain("the TLS certificate expires soon");
    near.write(short);
    await eventually(() => near.said().includes("the certificate expired at"));
    expect(near.files.current()?.cert).toBe(first.cert);
    expect(near.files.stats().validToMs).toBe(near.files.current()?.validToMs);

    using over = stage({ laterMs: 40 * DAY_MS });
    over.write(first);
    await over.files.start();
    expect(over.said()).toContain("the TLS certificate has expired");

    using far = stage();
    far.write(first);
    await far.files.start();
    expect(far.said()).not.toContain("expire");
  });

  test("KeyPairFiles takes good files later that it could not take at first, though they do not change any more", async () => {
    let refuses = false;
    using at = stage({ refuses: () => refuses });
    at.write(first);
    await at.files.start();
    refuses = true;
    at.write(second);
    await eventually(() => at.said().includes("no server for it"));
    // As when no descriptor was free.
    refuses = false;
    await eventually(() => at.files.current()?.cert === second.cert);
    expect(at.files.stats()).toMatchObject({ renewals: 1, failures: 1 });
    expect(at.said()).toContain("the TLS files can be used again");
  });

  test("KeyPairFiles takes a new pair only from its beginning on, if the earlier one is valid until then", async () => {
    let laterMs = 0;
    using at = stage({ laterMsNow: () => laterMs });
    at.write(first);
    await at.files.start();
    const [begin, end] = [10, 20].map((days) => new Date(systemClock.now() + days * DAY_MS));
    const future = await authority.issueFor("future", begin ?? new Date(), end ?? new Date());
    at.write(future);
    await eventually(() => at.said().includes("the certificate begins at"));
    expect(at.files.current()?.cert).toBe(first.cert);
    laterMs = 11 * DAY_MS;
    await eventually(() => at.files.current()?.cert === future.cert);
  });

  test("KeyPairFiles prefers any new pair to one that has expired itself", async () => {
    const third = await authority.issue("third", { days: 1 });
    using at = stage({ laterMs: 40 * DAY_MS });
    at.write(first);
    await at.files.start();
    // Its chain has a certificate that nobody needs and that has expired as well.
    at.write({ cert: second.cert + third.cert, key: second.key });
    await eventually(() => at.files.stats().renewals === 1);
    expect(at.files.current()?.key).toBe(second.key);
  });

  test("KeyPairFiles tells at the start that clients refuse a pair that has not begun", async () => {
    using at = stage({ laterMs: -2 * DAY_MS });
    at.write(first);
    await at.files.start();
    expect(at.said()).toContain("the TLS certificate has not begun");
  });
});
