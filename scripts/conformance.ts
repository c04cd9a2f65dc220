// conformance.ts: h2spec against the ingress and against Bun alone; `scripts/conformance` calls it.
import { $ } from "bun";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { eventually } from "./lib/eventually.ts";
import { findFreePort } from "./lib/free-port.ts";
import { isAnswering, startIngressProcess } from "./lib/ingress-process.ts";
import { buildGoProgram, programCacheDir } from "./lib/kube/go-build.ts";
import { batchSandbox } from "./lib/stage/sandbox-objects.ts";

const ROOT = join(import.meta.dir, "..");
const BINARY = process.env["INGRESS_BINARY"] ?? join(ROOT, "dist/ingress");
const H2SPEC = "github.com/summerwind/h2spec";
const ROUNDS_DEFAULT = 5;
/** Seconds that one case may wait for an answer. */
const CASE_MAX_S = 2;

/** A port to ask. */
interface Asked {
  readonly name: string;
  readonly port: number;
  readonly path: string;
  readonly isTls: boolean;
}

/** How often each case failed, by its section and its words. */
type Failures = Map<string, number>;

async function ensureH2spec(): Promise<string> {
  const moduleDir = join(ROOT, "scripts/h2spec");
  const [, version = "unknown"] = /h2spec (v[\d.]+)/.exec(readFileSync(join(moduleDir, "go.mod"), "utf8")) ?? [];
  const folder = join(programCacheDir(ROOT), "h2spec", version);
  const output = join(folder, "h2spec");
  if (existsSync(output)) return output;
  mkdirSync(folder, { recursive: true });
  const progress = (line: string): void => console.error(line);
  await buildGoProgram(`${H2SPEC}/cmd/h2spec`, { moduleDir, output, ldflags: "-s -w", progress });
  return output;
}

/** Asks all cases `rounds` times. Returns how many cases there are, and which failed. */
async function ask(h2spec: string, asked: Asked, { rounds, dir }: { rounds: number; dir: string }) {
  const report = join(dir, "report.xml");
  const failures: Failures = new Map();
  let cases = 0;
  for (let round = 0; round < rounds; round++) {
    const tls = asked.isTls ? ["-t", "-k"] : [];
    const place = ["-h", "127.0.0.1", "-p", String(asked.port), "-P", asked.path];
    // Its exit code is 1 if a case fails.
    await $`${h2spec} ${place} ${tls} -o ${CASE_MAX_S} -j ${report}`.quiet().nothrow();
    const text = readFileSync(report, "utf8");
    cases = [...text.matchAll(/<testcase /g)].length;
    // One that passed is closed in its own line.
    const failed = /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>(?!<\/testcase>)/g;
    for (const [, section = "", words = ""] of text.matchAll(failed)) {
      const name = `${section}: ${words}`;
      failures.set(name, (failures.get(name) ?? 0) + 1);
    }
    rmSync(report);
  }
  return { cases, failures };
}

async function run(rounds: number): Promise<number> {
  const h2spec = await ensureH2spec();
  const dir = mkdtempSync(join(tmpdir(), "ingress-http2-"));
  const [cert, key] = [join(dir, "tls.crt"), join(dir, "tls.key")];
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await $`openssl req -x509 ${curve} ${names} -days 2 -keyout ${key} -out ${cert}`.quiet();
  const fetch = async (request: Request): Promise<Response> => {
    await request.bytes();
    return new Response("hello");
  };
  const common = { hostname: "127.0.0.1", port: 0, http2: true, fetch } as const;
  const bare = Bun.serve(common);
  const bareTls = Bun.serve({ ...common, tls: { cert: Bun.file(cert), key: Bun.file(key) } });
  const manifests = join(dir, "manifests");
  mkdirSync(manifests);
  writeFileSync(join(manifests, "sb.json"), JSON.stringify(batchSandbox({ endpoints: '["127.0.0.1"]' })));
  const tlsPort = findFreePort();
  const tls = [`--tls-cert-file=${cert}`, `--tls-key-file=${key}`, `--tls-port=${tlsPort}`];
  const flags = ["--http2", "--mode=uri", `--manifests=${manifests}`, "--log-level=error", ...tls];
  const ingress = await startIngressProcess(BINARY, flags);
  try {
    await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
    const path = `/sb/${bare.port}/`;
    const ports: readonly (readonly [Asked, Asked])[] = [
      [
        { name: "without TLS: Bun alone", port: bare.port ?? 0, path: "/", isTls: false },
        { name: "without TLS: ingress", port: Number(new URL(ingress.origin).port), path, isTls: false },
      ],
      [
        { name: "with TLS: Bun alone", port: bareTls.port ?? 0, path: "/", isTls: true },
        { name: "with TLS: ingress", port: tlsPort, path, isTls: true },
      ],
    ];
    let isWorse = false;
    for (const pair of ports) {
      const [alone, own] = [await ask(h2spec, pair[0], { rounds, dir }), await ask(h2spec, pair[1], { rounds, dir })];
      for (const [{ name }, { cases, failures }] of [[pair[0], alone] as const, [pair[1], own] as const]) {
        console.log(`${name}: ${cases} cases, ${failures.size} of them failed in ${rounds} rounds`);
        for (const [words, times] of failures) console.log(`  ${times} of ${rounds}  ${words}`);
      }
      // Some cases fail now and then, because both sides write at the same time.
      const isAlways = ([words, times]: readonly [string, number]) => times === rounds && !alone.failures.has(words);
      if (own.cases === 0 || [...own.failures].some(isAlways)) isWorse = true;
    }
    return isWorse ? 1 : 0;
  } finally {
    await ingress[Symbol.asyncDispose]();
    await Promise.all([bare.stop(true), bareTls.stop(true)]);
    rmSync(dir, { recursive: true });
  }
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: String(ROUNDS_DEFAULT) } } });
process.exit(await run(Number(values.rounds)));
