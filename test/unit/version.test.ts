import { expect, test } from "bun:test";
import packageJson from "../../package.json" with { type: "json" };
import { buildInfo, formatBuildInfo, PROJECT_URL } from "../../src/version.ts";

test("buildInfo says dev and unknown in a run from source, and cannot be changed", () => {
  expect(buildInfo).toEqual({
    version: "dev",
    commit: "unknown",
    buildTime: "unknown",
    bunVersion: Bun.version,
    platform: "unknown",
  });
  expect(Object.isFrozen(buildInfo)).toBe(true);
});

test("formatBuildInfo names every part in one line", () => {
  const info = {
    version: "1.2.3",
    commit: "abc",
    buildTime: "2026-01-01T00:00:00Z",
    bunVersion: "9.8.7",
    platform: "x-y",
  };
  expect(formatBuildInfo(info)).toBe("1.2.3 (commit abc, built 2026-01-01T00:00:00Z, bun 9.8.7, x-y)");
});

test("PROJECT_URL is the repository of package.json", () => {
  expect(packageJson.repository.url).toBe(`git+${PROJECT_URL}.git`);
});
