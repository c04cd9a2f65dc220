import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type SampleSandbox, startSampleSandbox } from "../../scripts/lib/demo/sample-sandbox.ts";
import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { isAnswering, runToEnd, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { batchSandbox } from "../../scripts/lib/stage/sandbox-objects.ts";
import { tempDir } from "../support/temp-dir.ts";

const TOKEN = "secure-access-token-1";
const SECRETS = { a: "QUFBQUFBQUFBQUE=", b: "QkJCQkJCQkJCQkI=" } as const;

let binary: string;
let sandbox: SampleSandbox;
beforeAll(async () => {
  binary = await buildBinary();
  sandbox = startSampleSandbox("secured", { address: "127.0.0.1", port: 0 });
});
afterAll(() => sandbox.stop());

/** What `ingress sign` prints as the URL of the URI form. */
async function sign(keyId: keyof typeof SECRETS, keyFile: string, base: string): Promise<string> {
  const flags = ["--id=secured", `--port=${sandbox.port}`, "--expires=1h", `--base=${base}`];
  const { exitCode, stdout, stderr } = await runToEnd([binary, "sign", `--key=${keyId}=@${keyFile}`, ...flags]);
  expect(exitCode).toBe(0);
  expect(stderr).toContain("no host form");
  const url = /^uri +(\S+)$/m.exec(stdout)?.[1];
  if (url === undefined) throw new Error(`no URL in ${stdout}`);
  return url;
}

/** The status of the answer to a GET. */
const statusOf = async (url: string, headers: Record<string, string> = {}) => {
  const response = await fetch(url, { proxy: false, headers });
  await response.arrayBuffer();
  return response.status;
};

test("ingress accepts the links that ingress sign makes, and follows its keys file without a restart", async () => {
  using dir = tempDir();
  const file = (name: string, text: string) => {
    const path = join(dir.path, name);
    writeFileSync(path, text);
    return path;
  };
  const manifest = batchSandbox({ name: "secured", endpoints: '["127.0.0.1"]', token: TOKEN });
  const manifests = file("secured.json", JSON.stringify(manifest));
  const keysFile = file("keys", `a=${SECRETS.a}\n`);
  const [fileA, fileB] = [file("a", SECRETS.a), file("b", SECRETS.b)];
  await using ingress = await startIngressProcess(binary, [
    `--manifests=${manifests}`,
    "--mode=uri",
    `--secure-access-keys-file=${keysFile}`,
    "--access-log=all",
  ]);
  const linkA = await sign("a", fileA, ingress.origin);
  const linkB = await sign("b", fileB, ingress.origin);
  const plain = `${ingress.origin}/secured/${sandbox.port}/`;

  await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
  expect(await statusOf(linkA)).toBe(200);
  expect(await statusOf(linkB)).toBe(401);
  expect(await statusOf(plain)).toBe(401);
  expect(await statusOf(plain, { "OpenSandbox-Secure-Access": TOKEN })).toBe(200);

  // The log tells when, since asking with a link that fails is what the ingress throttles.
  const rotate = async (text: string, message: string) => {
    const before = ingress.readOutput().length;
    file("keys", text);
    await eventually(() => ingress.readOutput().slice(before).includes(message));
  };
  await rotate(`a=${SECRETS.a}\nb=${SECRETS.b}\n`, "keys read again");
  expect(await statusOf(linkA)).toBe(200);
  expect(await statusOf(linkB)).toBe(200);
  await rotate(`b=${SECRETS.b}\n`, "keys read again");
  expect(await statusOf(linkA)).toBe(401);
  expect(await statusOf(linkB)).toBe(200);
  await rotate(`b=${SECRETS.b}\na=broken\n`, "keeping the earlier keys");
  expect(await statusOf(linkB)).toBe(200);

  const output = ingress.readOutput();
  for (const secret of [TOKEN, SECRETS.a, SECRETS.b, "broken", linkA.split("/").at(-2) ?? TOKEN]) {
    expect(output).not.toContain(secret);
  }
  const refused = await runToEnd([binary, "verify", linkA, `--key=b=${SECRETS.b}`]);
  expect(refused.exitCode).toBe(1);
  expect(refused.stdout).toContain('refused: key "a" is unknown');
  const taken = await runToEnd([binary, "verify", linkA, `--key=a=@${fileA}`]);
  expect(taken.exitCode).toBe(0);
  expect(taken.stdout).toEndWith("\nvalid\n");
});

test("ingress does not start with access keys that it cannot use, and shows nothing of them", async () => {
  using dir = tempDir();
  const flag = await runToEnd([binary, `--manifests=${dir.path}`, "--port=0", "--secure-access-keys=a=U0VDUkVU!"]);
  expect(flag.exitCode).toBe(2);
  expect(flag.stderr).toContain("not valid padded base64");
  const path = join(dir.path, "keys");
  writeFileSync(path, "a=U0VDUkVU!");
  const places = ["--host=127.0.0.1", "--port=0", "--admin-port=0"];
  const file = await runToEnd([binary, `--manifests=${dir.path}`, ...places, `--secure-access-keys-file=${path}`]);
  expect(file.exitCode).toBe(1);
  expect(file.stdout + file.stderr).toContain("not valid padded base64");
  for (const { stdout, stderr } of [flag, file]) expect(stdout + stderr).not.toContain("U0VD");
});
