import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";

import { Glob, Transpiler } from "bun";

const SRC = join(import.meta.dir, "../src");

/** A room is a folder of `src`, or a file of `src` together with the folder of the same name. */
interface RoomRule {
  /** Rooms whose code it may use, and whose types. */
  readonly uses: readonly string[];
  /** Rooms of which it may know the types only. */
  readonly types?: readonly string[];
}

/**
 * Who may import whom. The table of the design: leaves stand alone; `route` and `access` are pure; `kube` never learns
 * what a sandbox is; `proxy` never learns that Kubernetes exists; only `main` knows `ingress`.
 */
const ROOMS: Readonly<Record<string, RoomRule>> = {
  // Leaves: they know nothing of ours but each other.
  values: { uses: [] },
  duration: { uses: [] },
  quantity: { uses: [] },
  origin: { uses: [] },
  errors: { uses: [] },
  clock: { uses: [] },
  address: { uses: [] },
  version: { uses: [] },
  lifecycle: { uses: [] },
  process: { uses: [] },
  log: { uses: ["clock"] },
  host: { uses: ["address", "values"], types: ["clock", "log"] },
  files: { uses: ["clock", "values"], types: ["log"] },

  // Pure: text and headers in, values out. Only access/keys-file.ts reads a file.
  route: { uses: ["errors", "values"] },
  access: { uses: ["errors", "route", "address", "files", "values"], types: ["clock", "log"] },

  tls: { uses: ["clock", "files", "values"], types: ["log"] },

  // Parts.
  metrics: { uses: ["clock", "version"], types: ["errors", "log", "route"] },
  traces: { uses: ["clock", "metrics", "values"], types: ["log", "route", "version"] },
  kube: { uses: ["clock", "values"], types: ["log"] },
  sandbox: { uses: ["address", "clock", "duration", "files", "log", "kube", "origin", "quantity", "values"] },
  renew: { uses: ["clock", "values"], types: ["log", "sandbox"] },
  proxy: {
    uses: [
      "address",
      "clock",
      "errors",
      "origin",
      "process",
      "quantity",
      "route",
      "sandbox",
      "traces",
      "values",
      "version",
    ],
    types: ["access", "host", "log", "metrics", "renew"],
  },
  admin: {
    uses: ["access", "address", "clock", "proxy", "sandbox", "values"],
    types: ["host", "lifecycle", "log", "metrics"],
  },

  // The rooms' options, filled in from flags and environment.
  config: {
    uses: ["address", "access", "duration", "log", "origin", "quantity", "renew", "values"],
    types: ["host", "metrics", "proxy", "route", "sandbox", "traces"],
  },
  source: { uses: ["config", "kube", "sandbox", "version"], types: ["clock", "log"] },
  look: { uses: ["access", "admin", "proxy", "source", "values"], types: ["clock", "config", "log", "sandbox"] },
  doctor: {
    uses: [
      "access",
      "address",
      "clock",
      "config",
      "host",
      "kube",
      "log",
      "renew",
      "sandbox",
      "tls",
      "values",
      "version",
    ],
  },
  commands: {
    uses: ["access", "admin", "config", "duration", "log", "look", "proxy", "route", "values"],
    types: ["doctor", "source"],
  },

  // The whole.
  ingress: {
    uses: [
      "access",
      "admin",
      "clock",
      "config",
      "host",
      "lifecycle",
      "log",
      "metrics",
      "process",
      "proxy",
      "renew",
      "sandbox",
      "source",
      "tls",
      "traces",
      "version",
    ],
  },
  main: { uses: ["clock", "commands", "config", "doctor", "ingress", "process", "version", "values"] },
};

/** Files of a room that may use less than the room: what is shared with `proxy` must not bring Kubernetes along. */
const WITHOUT_KUBE = /^sandbox\/(?!kubernetes\/)/;

/** Each package is imported in one file. */
const PACKAGES: Readonly<Record<string, string>> = {
  "@kubernetes/client-node": "kube/credentials.ts",
  "@opentelemetry/api": "metrics/otel.ts",
  "@opentelemetry/exporter-metrics-otlp-http": "metrics/metrics.ts",
  "@opentelemetry/exporter-prometheus": "metrics/metrics.ts",
  "@opentelemetry/exporter-trace-otlp-http": "traces/otlp-spans.ts",
  "@opentelemetry/resources": "metrics/resource.ts",
  "@opentelemetry/sdk-metrics": "metrics/metrics.ts",
  cac: "config/parse-config.ts",
  consola: "log/logger.ts",
  preact: "admin/dashboard/ui.ts",
  ws: "proxy/websocket/dial.ts",
  yaml: "sandbox/manifest/read.ts",
};

/** What runs in a browser. It is bundled by itself, and knows the rest of `src` by types only. */
const BROWSER_CODE = "admin/dashboard/";
/** A macro: it runs in Bun's parser, where it starts the bundler, and never in the program. */
const MACRO = "admin/dashboard-files.ts";

/** What the macro tells the bundler of the browser's code, which has no process. */
const BUNDLER_DEFINE = "--define=process.env.NODE_ENV=";

/** Members of the global `process`, and their like in `Bun`; a parameter may well be called `process`. */
const PROCESS_USE =
  /\bBun\.(?:env|argv)\b|(?<![.\w])process\.(?:env|argv|execve|execPath|exit|exitCode|on|once|pid|stdout|stderr|kill|cwd|platform|memoryUsage|cpuUsage|hrtime|nextTick)\b/g;

interface Import {
  readonly from: string;
  /** A file of `src`, or a package. */
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = [...new Glob("**/*.{ts,tsx}").scanSync(SRC)].toSorted((a, b) => a.localeCompare(b));
const sources = new Map(files.map((file) => [file, readFileSync(join(SRC, file), "utf8")]));
const imports = files.flatMap(readImports);

function readImports(file: string): Import[] {
  const source = sources.get(file) ?? "";
  // The transpiler drops what is only types, so its imports are those that run.
  const loader = file.endsWith(".tsx") ? "tsx" : "ts";
  const running = new Set(new Transpiler({ loader }).scanImports(source).map(({ path }) => path));
  const all = [...source.matchAll(/(?:^|\s)(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1] ?? "");
  return [...new Set(all)].map((path) => ({
    from: file,
    to: path.startsWith(".") ? relative(SRC, join(SRC, dirname(file), path)) : packageOf(path),
    typeOnly: !running.has(path),
  }));
}

function packageOf(path: string): string {
  return path
    .split("/")
    .slice(0, path.startsWith("@") ? 2 : 1)
    .join("/");
}

function roomOf(file: string): string {
  const slash = file.indexOf("/");
  return slash < 0 ? basename(file, ".ts") : file.slice(0, slash);
}

const isOwn = (path: string): boolean => /\.tsx?$/.test(path);
const isBuiltIn = (path: string): boolean => path.startsWith("node:") || path === "bun" || path.startsWith("bun:");

describe("src", () => {
  test("imports: every file is in a room of the table, and every room has files", () => {
    expect(new Set(files.map(roomOf))).toEqual(new Set(Object.keys(ROOMS)));
  });

  test.each(files)("imports: %s uses only what its room may use", (file) => {
    const room = roomOf(file);
    const rule = ROOMS[room] ?? { uses: [] };
    const broken = imports.filter(({ from, to, typeOnly }) => {
      if (from !== file || !isOwn(to) || roomOf(to) === room) return false;
      if (roomOf(to) === "kube" && WITHOUT_KUBE.test(file)) return true;
      const allowed = typeOnly ? [...rule.uses, ...(rule.types ?? [])] : rule.uses;
      return !allowed.includes(roomOf(to));
    });
    expect(broken).toEqual([]);
  });

  test("imports: each package is imported in the one file that the table names", () => {
    const found = imports.filter(({ to }) => !isOwn(to) && !isBuiltIn(to)).map(({ from, to }) => `${to} in ${from}`);
    expect(new Set(found)).toEqual(new Set(Object.entries(PACKAGES).map(([name, file]) => `${name} in ${file}`)));
  });

  test("imports: what runs in a browser uses only itself, and nothing else imports it", () => {
    const isBrowserCode = (path: string): boolean => path.startsWith(BROWSER_CODE);
    const crossing = imports.filter(({ from, to }) => isOwn(to) && isBrowserCode(from) !== isBrowserCode(to));
    expect(crossing.filter(({ from, typeOnly }) => !typeOnly || !isBrowserCode(from))).toEqual([]);
    expect(imports.filter(({ from, to }) => isBrowserCode(from) && isBuiltIn(to))).toEqual([]);
  });

  test("imports: only a macro imports the process", () => {
    const found = imports.filter(({ to }) => to === "node:process").map(({ from }) => from);
    expect(found).toEqual([MACRO]);
    const users = files.filter((file) => sources.get(file)?.includes(basename(MACRO)));
    expect(users).toEqual(["admin/dashboard-pages.ts"]);
    for (const user of users) {
      expect(sources.get(user)).toMatch(/from "\.\/dashboard-files\.ts" with \{ type: "macro" \};/);
    }
  });

  test("imports: the pure rooms do no I/O", () => {
    const allowed = new Set(["node:crypto", "node:net"]);
    const broken = imports.filter(
      ({ from, to }) => ["route", "access"].includes(roomOf(from)) && isBuiltIn(to) && !allowed.has(to),
    );
    expect(broken).toEqual([]);
  });

  test("rooms: each uses only rooms before it in the table, also for types", () => {
    const order = Object.keys(ROOMS);
    const upwards = Object.entries(ROOMS).flatMap(([room, { uses, types = [] }]) =>
      [...uses, ...types]
        .filter((used) => order.indexOf(used) >= order.indexOf(room))
        .map((used) => `${room} → ${used}`),
    );
    expect(upwards).toEqual([]);
  });

  test("rooms: docs/architecture.md shows this table", () => {
    const text = readFileSync(join(SRC, "../docs/architecture.md"), "utf8").replaceAll(/\n {2}/g, " ");
    const shown = /<!-- rooms -->\n([\s\S]*)<!-- \/rooms -->/.exec(text)?.[1]?.trim().split("\n");
    const rows = Object.entries(ROOMS).map(([room, { uses, types = [] }]) => {
      const ofTypes = types.length === 0 ? "" : `; types of ${types.join(", ")}`;
      return `- \`${room}\`: uses ${uses.join(", ") || "nothing"}${ofTypes}.`;
    });
    expect(shown).toEqual(rows);
  });

  test("rooms: no file stands beside a folder of its name", () => {
    const folders = new Set(files.map((file) => dirname(file)));
    expect(files.filter((file) => folders.has(file.replace(/\.tsx?$/, "")))).toEqual([]);
  });

  test("imports: there is no cycle, not even of types", () => {
    const next = new Map(files.map((file) => [file, imports.filter((i) => i.from === file && isOwn(i.to))]));
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) throw new Error(`cycle: ${[...path, file].join(" → ")}`);
      if (done.has(file)) return;
      for (const { to } of next.get(file) ?? []) visit(to, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(done.size).toBe(files.length);
  });

  test.each(files)("habits: %s keeps them", (file) => {
    const source = sources.get(file) ?? "";
    const code = source.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "").replaceAll(BUNDLER_DEFINE, "");
    expect(basename(file)).toMatch(/^(?!index\.)[a-z0-9]+(-[a-z0-9]+)*\.tsx?$/);
    expect(code.match(/^export default\b.*/gm)).toBeNull();
    if (file === "main.ts") return;
    // Only the process edge touches the process, and nothing is kept at the level of a module that can change.
    expect(code.match(PROCESS_USE)).toBeNull();
    expect(code.match(/^(?:export )?(?:let|var) .*/gm)).toBeNull();
  });
});

describe("scripts", () => {
  const ROOT = join(SRC, "..");
  const scripts = [...new Glob("scripts/**/*.ts").scanSync(ROOT)].toSorted((a, b) => a.localeCompare(b));
  const importsOf = (file: string): string[] =>
    [...readFileSync(join(ROOT, file), "utf8").matchAll(/(?:^|\s)(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(
      ([, path = ""]) => (path.startsWith(".") ? relative(ROOT, join(ROOT, dirname(file), path)) : path),
    );

  test("imports: there are commands in scripts/, and modules in scripts/lib/", () => {
    expect(scripts.filter((file) => file.startsWith("scripts/lib/")).length).toBeGreaterThan(30);
    expect(scripts.filter((file) => !/^scripts\/(?:lib\/.+|[a-z-]+)\.ts$/.test(file))).toEqual([]);
  });

  test.each(scripts)("imports: %s imports no test", (file) => {
    const broken = importsOf(file).filter((path) => path.startsWith("test/") || path === "bun:test");
    expect(broken).toEqual([]);
  });

  test.each(scripts)("imports: %s imports no command", (file) => {
    expect(importsOf(file).filter((path) => /^scripts\/[^/]+$/.test(path))).toEqual([]);
  });

  test("imports: no test imports a command", () => {
    const tests = [...new Glob("test/**/*.ts").scanSync(ROOT)];
    const broken = tests.filter((file) => importsOf(file).some((path) => /^scripts\/[^/]+$/.test(path)));
    expect(broken).toEqual([]);
  });
});
