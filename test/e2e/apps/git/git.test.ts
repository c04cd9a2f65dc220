import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { runToEnd } from "../../../../scripts/lib/ingress-process.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { runClient } from "../../../support/apps/run-client.ts";
import { tryApp, type RunningApp, type Visit } from "../../../support/apps/try-app.ts";
import { tempDir } from "../../../support/temp-dir.ts";

interface GitApp extends RunningApp {
  /** Makes an empty repository. */
  create(name: string): Promise<void>;
}

/** Bytes that do not shrink, so that the push is as large; below what git sends with a length. */
const FILE_BYTES = 3 * 1024 * 1024;
const LENGTH_MAX_BYTES = 2 * FILE_BYTES;

async function runGit(...words: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runToEnd(["git", ...words]);
  if (exitCode !== 0) throw new Error(`git ${words[0]} failed: ${stderr}`);
  return stdout.trim();
}

async function pushAndClone(visit: Visit, app: GitApp): Promise<void> {
  using folder = tempDir();
  const repository = `proof-${crypto.randomUUID()}.git`;
  await app.create(repository);
  const { origin, prefix } = visit.place;
  const { hostname, port } = new URL(origin);
  const url = `${origin}${prefix}/git/${repository}`;
  const client = (...words: string[]) =>
    runClient(visit, {
      // No name of the tests is in a DNS.
      command: [
        "git",
        "-c",
        `http.curloptResolve=${hostname}:${port}:127.0.0.1`,
        "-c",
        `http.postBuffer=${LENGTH_MAX_BYTES}`,
        "-c",
        "user.name=person",
        "-c",
        "user.email=person@apps.test",
        ...words,
      ],
      env: { GIT_TERMINAL_PROMPT: "0", GIT_CONFIG_NOSYSTEM: "1" },
      cwd: folder.path,
    });
  await client("clone", url, "first");
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const file = Buffer.concat(
    Array.from({ length: FILE_BYTES / bytes.length }, () => crypto.getRandomValues(bytes.slice())),
  );
  writeFileSync(join(folder.path, "first/file.bin"), file);
  await client("-C", "first", "add", "file.bin");
  await client("-C", "first", "commit", "--message=proof");
  await client("-C", "first", "push", "origin", "HEAD:main");
  await client("clone", "--branch=main", url, "second");
  expect(readFileSync(join(folder.path, "second/file.bin")).equals(file)).toBe(true);
}

tryApp<GitApp>({
  name: "git",
  async start({ port }) {
    const folder = tempDir();
    const backend = join(await runGit("--exec-path"), "git-http-backend");
    const server = await startLocalApp({
      name: "git",
      port,
      readyPath: "/ready",
      command: [join(cacheFolder("git"), "bin/server"), `127.0.0.1:${port}`, folder.path, backend],
    });
    return {
      ...server,
      create: async (name) => void (await runGit("init", "--bare", "--initial-branch=main", join(folder.path, name))),
      [Symbol.asyncDispose]: async () => {
        await server.stop();
        folder[Symbol.dispose]();
      },
    };
  },
  use: pushAndClone,
  rows: [{ form: "direct" }, { form: "host" }, { form: "uri" }],
});
