import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { runToEnd } from "../../../../scripts/lib/ingress-process.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { runClient } from "../../../support/apps/run-client.ts";
import { tryApp, type RunningApp, type Visit } from "../../../support/apps/try-app.ts";
import { tempDir } from "../../../support/temp-dir.ts";

interface StoreApp extends RunningApp {
  readonly key: string;
  readonly secret: string;
}

const PROGRAMS = join(cacheFolder("s3"), "venv/bin");
/** The calls that make a user; from then on moto checks every signature, as a store does that is worth the name. */
const UNCHECKED_CALLS = 3;
/** What is signed is not what the store sees: the Host, and the path. */
const SIGNATURE_REFUSED = /SignatureDoesNotMatch/;

async function useBoto(visit: Visit, app: StoreApp): Promise<void> {
  const endpoint = visit.place.origin + visit.place.prefix;
  const told = await runClient(visit, {
    command: [join(PROGRAMS, "python"), join(sourceFolder("s3"), "boto.py"), endpoint, app.key, app.secret],
  });
  expect(told).toContain("boto3 done");
}

async function useS3cmd(visit: Visit, app: StoreApp): Promise<void> {
  using folder = tempDir();
  const { host } = new URL(visit.place.origin);
  const sent = join(folder.path, "sent.bin");
  const got = join(folder.path, "got.bin");
  writeFileSync(sent, Buffer.alloc(100_000, "proof "));
  const run = (...words: string[]) =>
    runClient(visit, {
      command: [
        join(PROGRAMS, "python"),
        join(PROGRAMS, "s3cmd"),
        "--config=/dev/null",
        "--no-ssl",
        "--region=us-east-1",
        `--host=${host}`,
        `--host-bucket=${host}`,
        `--access_key=${app.key}`,
        `--secret_key=${app.secret}`,
        ...words,
      ],
    });
  await run("mb", "s3://command");
  await run("put", sent, "s3://command/file.bin");
  expect(await run("ls", "s3://command")).toContain("s3://command/file.bin");
  await run("get", "s3://command/file.bin", got);
  expect(readFileSync(got).equals(readFileSync(sent))).toBe(true);
  await run("del", "s3://command/file.bin");
  await run("rb", "s3://command");
}

async function useBoth(visit: Visit, app: StoreApp): Promise<void> {
  await useBoto(visit, app);
  await useS3cmd(visit, app);
}

tryApp<StoreApp>({
  name: "s3",
  async start({ port }) {
    const server = await startLocalApp({
      name: "moto",
      port,
      readyPath: "/moto-api/",
      command: [join(PROGRAMS, "python"), join(PROGRAMS, "moto_server"), "-H", "127.0.0.1", "-p", String(port)],
      env: {
        INITIAL_NO_AUTH_ACTION_COUNT: String(UNCHECKED_CALLS),
        // Else it takes the first part of any name that it is called by for a bucket's.
        S3_IGNORE_SUBDOMAIN_BUCKETNAME: "true",
      },
    });
    const prepare = [join(PROGRAMS, "python"), join(sourceFolder("s3"), "prepare.py"), `http://127.0.0.1:${port}`];
    const { exitCode, stdout, stderr } = await runToEnd(prepare);
    if (exitCode !== 0) throw new Error(`cannot make a user: ${stderr}`);
    const [key = "", secret = ""] = stdout.trim().split(" ");
    return { ...server, key, secret };
  },
  use: useBoth,
  rows: [
    { form: "direct" },
    { form: "host", fails: SIGNATURE_REFUSED },
    { form: "host", settings: { "host-header": "preserve" } },
    { form: "uri", settings: { "host-header": "preserve" }, use: useBoto, letter: "", fails: SIGNATURE_REFUSED },
  ],
});
