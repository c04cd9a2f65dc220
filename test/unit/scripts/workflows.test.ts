import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { dig } from "../../support/kustomize.ts";

const ROOT = join(import.meta.dir, "../../..");
const FOLDER = join(ROOT, ".github/workflows");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const files = readdirSync(FOLDER);

function jobsOf(file: string): [name: string, job: unknown][] {
  const jobs = dig(Bun.YAML.parse(read(`.github/workflows/${file}`)), "jobs");
  return Object.entries(typeof jobs === "object" && jobs !== null ? jobs : {});
}

describe.each(files)("workflow %s", (file) => {
  const text = read(`.github/workflows/${file}`);

  test("workflows pin each action by commit, with its version beside it", () => {
    const used = [...text.matchAll(/uses: (.*)$/gm)]
      .map((match) => match[1] ?? "")
      .filter((use) => !use.startsWith("./"));
    expect(used.length).toBeGreaterThan(0);
    for (const use of used) expect(use).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test("workflows may read the repository only; one job, which publishes, may write", () => {
    expect(dig(Bun.YAML.parse(text), "permissions")).toEqual({ contents: "read" });
    const writing = jobsOf(file).filter(([, job]) => dig(job, "permissions") !== undefined);
    expect(writing.map(([name]) => name)).toEqual(file === "release.yml" ? ["publish"] : []);
  });

  test("workflows end every job at a limit, and keep no credentials in the checkout", () => {
    for (const [, job] of jobsOf(file)) {
      if (dig(job, "uses") === undefined) expect(dig(job, "timeout-minutes")).toBeNumber();
    }
    const checkouts = text.match(/actions\/checkout@/g)?.length ?? 0;
    expect(text.match(/persist-credentials: false/g)?.length ?? 0).toBe(checkouts);
  });

  test("workflows put no expression into a shell", () => {
    for (const [, job] of jobsOf(file)) {
      const steps = dig(job, "steps");
      for (const step of Array.isArray(steps) ? steps : []) expect(String(dig(step, "run"))).not.toContain("${{");
    }
  });
});

test("ci.yml gives no privileges to pull requests from forks", () => {
  for (const [, job] of jobsOf("ci.yml")) {
    const options = dig(job, "container", "options");
    if (options === undefined) continue;
    expect(options).toBe("${{ github.event.pull_request.head.repo.fork && '--init' || '--init --privileged' }}");
  }
});

test("ci.yml and the Dockerfile build in the same image", () => {
  const image = /^FROM --platform=\$BUILDPLATFORM (\S+)/m.exec(read("Dockerfile"))?.[1];
  expect(image).toContain("@sha256:");
  expect(dig(Object.fromEntries(jobsOf("ci.yml")), "full", "container", "image")).toBe(image);
});

test("release.yml publishes the tested files, and builds nothing", () => {
  const jobs = Object.fromEntries(jobsOf("release.yml"));
  expect(jobs).toMatchObject({ test: { uses: "./.github/workflows/ci.yml" }, publish: { needs: "test" } });
  expect(read(".github/workflows/release.yml")).not.toMatch(/scripts\/build|buildx build|actions\/checkout/);
});

test("dependabot.yml watches all that is pinned by version", () => {
  const updates = dig(Bun.YAML.parse(read(".github/dependabot.yml")), "updates");
  const watched = (Array.isArray(updates) ? updates : []).map((update) => dig(update, "package-ecosystem"));
  expect(new Set(watched)).toEqual(new Set(["github-actions", "bun", "docker", "gomod"]));
});
